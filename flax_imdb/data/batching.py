"""Batching: the plan of an epoch, and the arrays of a batch."""

import dataclasses
from typing import NamedTuple, TypedDict

import numpy as np

from flax_imdb.data.config import Padding
from flax_imdb.data.examples import Examples
from flax_imdb.data.tokenizer import PAD

# Examples are sorted by length within windows of this many batches: wide enough that the rows of a
# batch are nearly equally long, narrow enough that the order stays random.
_WINDOW = 16

# Each padded length is compiled once. A few suffice: on CPUs time loops stop at the longest row.
_PADDED_LENGTHS = 5

# Smaller batches for predictions of few texts. Each is compiled once for each padded length.
_FEW = (1, 8)


class Batch(TypedDict):
    """A padded batch.

    Keys:
      tokens: int32 [batch, time], ``<pad>`` at padding.
      lengths: number of valid tokens, int32 [batch]; 0 for filler rows.
      labels: int32 [batch]; or, where an example may have several, 0 or 1 for each class, float32
        [batch, classes].
      weights: float32 [batch]; 0 for filler rows.
      example_ids: index of each example in the whole split, int32 [batch]; -1 for filler rows.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    example_ids: np.ndarray


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
      max_length: length of the longest example.
      padding: ``"masked"`` groups rows by length and pads them at the end. ``"keras"`` pads every
        row at the front to `max_length`, as Keras's ``pad_sequences`` does, and counts the padding
        as valid, so that it is processed like any token.
      multiple_of: batches are filled up to a multiple of this many rows: the number of devices of
        all processes, times the microbatches.
    """

    batch_size: int
    max_length: int
    padding: Padding = "masked"
    multiple_of: int = 1

    @property
    def padded_lengths(self) -> tuple[int, ...]:
        """The padded lengths that planned batches of texts can have."""
        if self.padding == "keras":
            return (self.max_length,)
        multiple = self._multiple
        return (*range(multiple, self.max_length, multiple), self.max_length)

    def sizes(self, most: int | None = None) -> "tuple[Batching, ...]":
        """Batchings of few sizes, the smallest first, for up to `most` rows at once (None: any).

        The largest is this one, or the first that holds `most` rows.
        """
        sizes = [size for size in _FEW if size < self.batch_size] + [self.batch_size]
        if most is not None:
            sizes = [size for n, size in enumerate(sizes) if n == 0 or sizes[n - 1] < most]
        return tuple(dataclasses.replace(self, batch_size=size) for size in sizes)

    def plan_epoch(self, examples: Examples, *, seed: int, epoch: int) -> list[Planned]:
        """The batches of a training epoch, as a pure function of the arguments.

        Every example is in exactly one batch. The order is random, except that rows of similar
        length are grouped.
        """
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(examples))
        window = _WINDOW * self.batch_size
        batches = [
            planned
            for start in range(0, len(order), window)
            for planned in self._by_length(examples, order[start : start + window])
        ]
        return [batches[i] for i in rng.permutation(len(batches))]

    def plan_evaluation(self, examples: Examples) -> list[Planned]:
        """The batches of an evaluation: every example once, shortest first."""
        return self._by_length(examples, np.arange(len(examples)))

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
        inputs = examples.inputs[source]
        # Features that are 0 at padding, or ids: <pad> is 0.
        inputs = np.where(valid if inputs.ndim == 2 else valid[:, :, None], inputs, PAD)
        if self.padding == "keras":
            lengths = np.full_like(lengths, time)

        def filled(array: np.ndarray, value: int = 0) -> np.ndarray:
            filling = [(0, rows - len(examples)), *[(0, 0)] * (array.ndim - 1)]
            return np.pad(array, filling, constant_values=value)

        return {
            "tokens": filled(inputs),
            "lengths": filled(lengths[:, 0]),
            "labels": filled(examples.labels),
            "weights": filled(examples.weights),
            "example_ids": filled(examples.ids, -1),
        }

    def _by_length(self, examples: Examples, indices: np.ndarray) -> list[Planned]:
        """Sort `indices` by length and split them into batches."""
        lengths = examples.lengths
        if self.padding == "keras":
            lengths = np.full_like(lengths, self.max_length)
        by_length = indices[np.argsort(lengths[indices], kind="stable")]
        planned = []
        for start in range(0, len(by_length), self.batch_size):
            batch = by_length[start : start + self.batch_size]
            longest = int(lengths[batch[-1]])
            time = min(-(-longest // self._multiple) * self._multiple, self.max_length)
            planned.append(Planned(batch, time))
        return planned

    @property
    def _multiple(self) -> int:
        """Padded lengths are multiples of this, up to `max_length`."""
        return -(-self.max_length // _PADDED_LENGTHS)
