"""Batching: the plan of an epoch, and the arrays of a batch."""

import bisect
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, NotRequired, TypedDict, overload

import numpy as np

from flax_imdb.data.config import MAX_WINDOWS, Padding
from flax_imdb.data.examples import Examples
from flax_imdb.data.tokenizer import PAD

# Examples are sorted by length within windows of this many batches: wide enough that the rows of a
# batch are nearly equally long, narrow enough that the order stays random.
_WINDOW = 16

# Each padded length is compiled once. A few suffice: on CPUs time loops stop at the longest row.
_PADDED_LENGTHS = 5

# Of texts that are read in several windows, the numbers of windows that a batch has room for.
_WINDOW_COUNTS = (2, 3, 4, 6, MAX_WINDOWS)

# Smaller batches for predictions of few texts. Each is compiled once for each padded length.
_FEW = (1, 8)


class Batch(TypedDict):
    """A padded batch, of texts or of numeric sequences.

    Keys:
      tokens: of texts; int32 [batch, time], ``<pad>`` at padding.
      inputs: of numeric sequences; float32 [batch, time, features], 0 at padding.
      lengths: number of valid steps, int32 [batch]; 0 for filler rows.
      labels: int32 [batch]; or, where an example may have several, 0 or 1 for each class, float32
        [batch, classes].
      weights: float32 [batch]; 0 for filler rows.
      example_ids: index of each example in the whole split, int32 [batch]; -1 for filler rows.
    """

    tokens: NotRequired[np.ndarray]
    inputs: NotRequired[np.ndarray]
    lengths: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    example_ids: np.ndarray


def inputs_of(batch: Batch) -> np.ndarray:
    """What a classifier reads of a batch: its tokens, or the steps of numeric sequences."""
    return batch["tokens"] if "tokens" in batch else batch["inputs"]


class Planned(NamedTuple):
    """A batch to make.

    Attributes:
      indices: of its examples, at most `batch_size`.
      time: its padded length.
    """

    indices: np.ndarray
    time: int


@dataclasses.dataclass(frozen=True)
class Batching:
    """How examples become batches.

    Attributes:
      batch_size: examples per batch.
      max_length: length of the longest example, or of a window.
      padding: ``"masked"`` groups rows by length and pads them at the end. ``"keras"`` pads every
        row at the front to `max_length`, as Keras's ``pad_sequences`` does, and counts the padding
        as valid, so that it is processed like any token.
      multiple_of: batches are filled up to a multiple of this many rows: the number of devices of
        all processes, times the microbatches.
      stride: longer examples are read in up to `MAX_WINDOWS` windows of `max_length`, which start
        so many steps after each other. None: there are no longer ones.
    """

    batch_size: int
    max_length: int
    padding: Padding = "masked"
    multiple_of: int = 1
    stride: int | None = None

    @property
    def padded_lengths(self) -> tuple[int, ...]:
        """The padded lengths that planned batches of texts can have."""
        if self.padding == "keras":
            return (self.max_length,)
        longest, stride = self.max_length, self.stride
        multiple = -(-longest // _PADDED_LENGTHS)
        windows = [] if stride is None else [longest + (n - 1) * stride for n in _WINDOW_COUNTS]
        return (*range(multiple, longest, multiple), longest, *windows)

    def sizes(self, most: int | None = None) -> "tuple[Batching, ...]":
        """Batchings of few sizes, the smallest first, for up to `most` rows at once (None: any).

        The largest is this one, or the first that holds `most` rows.
        """
        sizes = [size for size in _FEW if size < self.batch_size] + [self.batch_size]
        if most is not None:
            sizes = [size for n, size in enumerate(sizes) if n == 0 or sizes[n - 1] < most]
        return tuple(dataclasses.replace(self, batch_size=size) for size in sizes)

    def plan_epoch(self, examples: Examples, *, seed: int, epoch: int) -> "Plan":
        """The batches of a training epoch, as a pure function of the arguments.

        Every example is in exactly one batch. The order is random, except that rows of similar
        length are grouped.
        """
        rng = np.random.default_rng([seed, epoch])
        order = np.arange(len(examples), dtype=np.int32)
        rng.shuffle(order)
        window = _WINDOW * self.batch_size
        for start in range(0, len(order), window):
            within = order[start : start + window]
            within[:] = self._by_length(examples, within)
        batches = rng.permutation(-(-len(order) // self.batch_size))
        return Plan(self, examples.lengths, order, batches)

    def plan_evaluation(self, examples: Examples) -> "Plan":
        """The batches of an evaluation: every example once, shortest first."""
        order = self._by_length(examples, np.arange(len(examples), dtype=np.int32))
        return Plan(self, examples.lengths, order, np.arange(-(-len(order) // self.batch_size)))

    def make(self, examples: Examples, planned: Planned, share: tuple[int, int] = (0, 1)) -> Batch:
        """Make a planned batch, filled up with filler rows of weight 0.

        Args:
          examples: the examples that were planned.
          planned: the batch.
          share: ``(n, of)`` makes only part `n`, counted from 0, of `of` equal parts of the rows.
            `of` must divide `multiple_of`.
        """
        part, parts = share
        rows = -(-self.batch_size // self.multiple_of) * self.multiple_of // parts
        examples = examples.take(planned.indices[part * rows : (part + 1) * rows])
        time = planned.time
        lengths = examples.lengths[:, None]
        first = time - lengths if self.padding == "keras" else 0
        position = np.arange(time) - first
        valid = (position >= 0) & (position < lengths)
        source = np.where(valid, examples.starts[:, None] + position, 0)
        inputs = examples.at(source)
        # Features that are 0 at padding, or ids: <pad> is 0.
        inputs = np.where(valid if inputs.ndim == 2 else valid[:, :, None], inputs, PAD)
        if self.padding == "keras":
            lengths = np.full_like(lengths, time)

        def filled(array: np.ndarray, value: int = 0) -> np.ndarray:
            filling = [(0, rows - len(examples)), *[(0, 0)] * (array.ndim - 1)]
            return np.pad(array, filling, constant_values=value)

        return {
            "tokens" if inputs.ndim == 2 else "inputs": filled(inputs),  # type: ignore[misc]
            "lengths": filled(lengths[:, 0]),
            "labels": filled(examples.labels),
            "weights": filled(examples.weights),
            "example_ids": filled(examples.ids, -1),
        }

    def padded_length(self, longest: int) -> int:
        """The padded length of a batch whose longest row has so many tokens."""
        if self.padding == "keras":
            return self.max_length
        times = self.padded_lengths
        return times[bisect.bisect_left(times, longest)]

    def _by_length(self, examples: Examples, indices: np.ndarray) -> np.ndarray:
        """The indices of examples, the shortest first if rows have lengths of their own."""
        if self.padding == "keras":
            return indices
        return indices[np.argsort(examples.lengths[indices], kind="stable")]


class Plan(Sequence[Planned]):
    """Planned batches, each made when it is asked for, so that many of them take little memory."""

    def __init__(
        self, batching: Batching, lengths: np.ndarray, order: np.ndarray, batches: np.ndarray
    ):
        """The plan.

        Args:
          batching: its `batch_size` rows after another of `order` are a batch.
          lengths: of the examples, int32 [examples].
          order: the examples of the batches, those of a batch shortest first, int32 [examples].
          batches: which of them are planned, in their order, int [batches].
        """
        self._batching = batching
        self._lengths = lengths
        self._order = order
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, index: int) -> Planned: ...

    @overload
    def __getitem__(self, index: slice) -> "Plan": ...

    def __getitem__(self, index: int | slice) -> "Planned | Plan":
        if isinstance(index, slice):
            return Plan(self._batching, self._lengths, self._order, self._batches[index])
        size = self._batching.batch_size
        start = self._batches[index] * size
        indices = self._order[start : start + size]
        return Planned(indices, self._batching.padded_length(int(self._lengths[indices[-1]])))
