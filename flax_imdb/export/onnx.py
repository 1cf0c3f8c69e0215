"""A model as an ONNX graph, with ONNX's own operators, the LSTM's among them.

It takes ``tokens`` and ``lengths``, int32 [batch, time] and [batch], and gives ``probabilities``,
float32 [batch, classes]. Of a model of numeric sequences it takes ``inputs`` instead of tokens,
float32 [batch, time, features], as they are. Batch and time may have any size, 0 too. Its metadata
are `facts` without the words, each a text: JSON, where the fact is no text itself.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import flax_imdb
from flax_imdb.export.check import Answer
from flax_imdb.export.facts import facts
from flax_imdb.export.network import (
    ConvLayer,
    Layer,
    LSTMLayer,
    MaxPoolLayer,
    Network,
    Weights,
    WideHead,
    check_size,
    network,
)
from flax_imdb.layers import Window
from flax_imdb.models.wide import NGRAM_HASHES
from flax_imdb.predict import TrainedModel

NEEDS = {"onnx": "onnx", "onnxruntime": "onnxruntime"}

# The first operators with XOR, and the format's version of their time: programs that are older than
# the newest read them, too.
_OPSET, _IR = 18, 8

_END = np.iinfo(np.int64).max
_LOWEST = float(np.finfo(np.float32).min)


def write(model: TrainedModel, path: Path) -> dict[str, Any]:
    """Write the graph.

    Returns:
      ``opset``, the version of ONNX's operators.

    Raises:
      InputError: the model has a layer that `network` does not describe, or is too large.
    """
    from onnx import checker, helper

    check_size(model, "onnx")
    written = helper.make_model(
        _graph(network(model), len(model.info.classes)),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        producer_name="flax_imdb",
        producer_version=flax_imdb.__version__,
    )
    about = {name: value for name, value in facts(model).items() if name != "words"}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, allow_nan=False)
        for name, value in about.items()
    }
    helper.set_model_props(written, texts)
    checker.check_model(written, full_check=True)
    path.write_bytes(written.SerializeToString())
    return {"opset": _OPSET}


def read(path: Path) -> Answer:
    """Read the graph. Of other libraries it takes onnxruntime alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    names = [each.name for each in session.get_inputs()]

    def answer(inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        given = dict(zip(names, (inputs, lengths), strict=True))
        return np.asarray(session.run(["probabilities"], given)[0])

    return answer


class _Builder:
    """The nodes and constants of a graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(
        self,
        operator: str,
        *inputs: "str | int | list[int] | np.ndarray | np.generic",
        outputs: Sequence[str] = ("Y",),
        **attributes: Any,
    ) -> str:
        """Add a node.

        Args:
          operator: one of ONNX's operators.
          inputs: names of values; or constants, of which integers become int64.
          outputs: the operator's outputs in its order, ``""`` for one that is not computed.
          attributes: those of the operator.

        Returns:
          The name of the first output that is computed.
        """
        from onnx import helper

        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        number = len(self.nodes)
        made = [each and f"{operator}_{number}_{each}" for each in outputs]
        self.nodes.append(helper.make_node(operator, names, made, **attributes))
        return next(filter(None, made))

    def constant(self, value: int | list[int] | np.ndarray | np.generic) -> str:
        """Add a constant; returns its name."""
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def cast(self, value: str, dtype: str) -> str:
        """Convert to a type of ``onnx.TensorProto``."""
        from onnx import TensorProto

        return self("Cast", value, to=getattr(TensorProto, dtype))


class _Steps(NamedTuple):
    """Right-padded sequences; what stands at padding does not matter.

    Attributes:
      values: float32 [batch, time, features], or int32 [batch, time].
      lengths: int64 [batch].
    """

    values: str
    lengths: str


def _graph(net: Network, classes: int) -> Any:
    """The whole graph."""
    from onnx import TensorProto, helper

    make = _Builder()
    name = "tokens" if net.standardizer is None else "inputs"
    given = _inputs(make, name, axes=2 if net.standardizer is None else 3)
    embed = _embedded if net.standardizer is None else _standardized
    steps = _Steps(embed(make, net, given.values), given.lengths)
    if net.window is None:
        vectors = _vectors(make, net, steps)
    else:
        embedded = (
            net.embedding.shape[1] if net.standardizer is None else len(net.standardizer.scale)
        )
        windows = _split(make, steps, net.window, embedded)
        vectors = _mean(make, _vectors(make, net, windows.steps), windows, len(net.kernel))
    logits = make("Gemm", vectors, net.kernel, net.bias)
    if net.wide is not None:
        deep = make("Mul", logits, np.float32(1 - net.wide.weight))
        wide = make("Mul", _wide_logits(make, net.wide, given), np.float32(net.wide.weight))
        logits = make("Add", deep, wide)
    probabilities = _output(make, name, logits, net)
    make.nodes.append(helper.make_node("Identity", [probabilities], ["probabilities"]))
    return helper.make_graph(
        make.nodes,
        "classifier",
        [
            _input_info(net, name),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]),
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])],
        make.constants,
    )


def _vectors(make: _Builder, net: Network, steps: _Steps) -> str:
    """What the encoder makes of each row: [batch, features]."""
    for layer in net.layers:
        steps = _layer(make, layer, steps)
    if net.pooling is None:
        return steps.values
    kinds = net.pooling.split("_")
    return make("Concat", *(_pool(make, kind, steps) for kind in kinds), axis=1)


class _Windows(NamedTuple):
    """The windows of sequences; see `flax_imdb.layers.split_windows`.

    Attributes:
      steps: of all windows, those of a row one after another.
      exists: whether the row has the window, bool [batch, windows].
    """

    steps: _Steps
    exists: str


def _split(make: _Builder, steps: _Steps, window: Window, width: int) -> _Windows:
    """The windows of sequences whose vectors have this width."""
    length, stride = window
    time = _time(make, steps.values)
    longer = make("Max", make("Sub", time, length), 0)
    number = make("Add", make("Div", make("Add", longer, stride - 1), stride), 1)
    missing = make("Sub", make("Mul", make("Add", number, 1), stride), time)
    padded = make("Pad", steps.values, make("Concat", [0, 0, 0, 0], missing, [0], axis=0))
    blocks = make("Reshape", padded, [0, -1, stride, width])
    first, second = make("Slice", blocks, [0], [-1], [1]), make("Slice", blocks, [1], [_END], [1])
    both = make("Concat", first, second, axis=2)
    # No step that none has: of short texts that would be most.
    values = make("Slice", both, [0], make("Min", time, length), [2])
    starts = make("Mul", make("Range", 0, make("Squeeze", number), 1), stride)
    lengths = make("Unsqueeze", steps.lengths, [1])
    reached = make("Add", starts, length - stride)
    exists = make("Or", make("Equal", starts, 0), make("Less", reached, lengths))
    own = make("Where", exists, make("Min", make("Sub", lengths, starts), length), 0)
    rows = make("Concat", [-1], make("Min", time, length), [width], axis=0)
    all_windows = _Steps(make("Reshape", values, rows), make("Reshape", own, [-1]))
    return _Windows(all_windows, exists)


def _mean(make: _Builder, vectors: str, windows: _Windows, features: int) -> str:
    """The mean of the vectors of each row's windows."""
    shape = make("Concat", make("Shape", windows.exists), [features], axis=0)
    each = make("Reshape", vectors, shape)
    exists = make("Unsqueeze", windows.exists, [2])
    total = make("ReduceSum", make("Where", exists, each, np.float32(0)), [1], keepdims=0)
    number = make("ReduceSum", make.cast(windows.exists, "FLOAT"), [1])
    return make("Div", total, number)


def _input_info(net: Network, name: str) -> Any:
    """The graph's first input."""
    from onnx import TensorProto, helper

    if net.standardizer is None:
        return helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "time"])
    shape: list[str | int | None] = ["batch", "time", len(net.standardizer.scale)]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _inputs(make: _Builder, name: str, axes: int) -> _Steps:
    """The inputs, of one row and one step at least, and lengths between 0 and time.

    ONNX Runtime's LSTM ends the process where there is no row. `_output` drops the added one.
    """
    at_least = make("Max", make("Shape", name), [1] * axes)
    missing = make("Sub", at_least, make("Shape", name))
    inputs = make("Pad", name, make("Concat", [0] * axes, missing, axis=0))
    rows = make("Slice", missing, [0], [1])
    lengths = make("Pad", make.cast("lengths", "INT64"), make("Concat", [0], rows, axis=0))
    lengths = make("Min", make("Max", lengths, 0), _time(make, inputs))
    return _Steps(inputs, lengths)


def _embedded(make: _Builder, net: Network, tokens: str) -> str:
    """The embedded tokens, with the n-grams that end with them."""
    values = make("Gather", net.embedding, tokens)
    for n, table in enumerate(net.ngram_embeddings, start=2):
        of_ngrams = make("Gather", table, _hash_ngrams(make, tokens, n, len(table)))
        values = make("Add", values, of_ngrams)
    return values


def _standardized(make: _Builder, net: Network, inputs: str) -> str:
    """The standardized steps of numeric sequences."""
    assert net.standardizer is not None
    mean, rest, scale = net.standardizer
    return make("Div", make("Sub", make("Sub", inputs, mean), rest), scale)


def _output(make: _Builder, name: str, logits: str, net: Network) -> str:
    """The probabilities of as many rows as were given, from the logits of each."""
    if net.multi_label:
        probabilities = make("Sigmoid", logits)
    elif len(net.bias) == 1:
        second = make("Sigmoid", logits)
        probabilities = make("Concat", make("Sub", np.float32(1), second), second, axis=1)
    else:
        probabilities = make("Softmax", logits, axis=1)
    return make("Slice", probabilities, [0], make("Shape", name, start=0, end=1))


def _time(make: _Builder, values: str) -> str:
    """The number of steps, int64 [1]."""
    return make("Shape", values, start=1, end=2)


def _valid(make: _Builder, steps: _Steps) -> str:
    """Whether a step is none of padding, bool [batch, time]."""
    time = make("Squeeze", _time(make, steps.values))
    return make("Less", make("Range", 0, time, 1), make("Unsqueeze", steps.lengths, [1]))


def _fill(make: _Builder, steps: _Steps, value: float) -> str:
    """The values, with `value` at padding."""
    valid = make("Unsqueeze", _valid(make, steps), [2])
    return make("Where", valid, steps.values, np.float32(value))


def _none_if_empty(make: _Builder, values: str, lengths: str) -> str:
    """Vectors [batch, features], 0 for rows of length 0."""
    is_empty = make("Unsqueeze", make("Equal", lengths, 0), [1])
    return make("Where", is_empty, np.float32(0), values)


def _layer(make: _Builder, layer: Layer, steps: _Steps) -> _Steps:
    match layer:
        case LSTMLayer():
            return _Steps(_lstm(make, layer, steps), steps.lengths)
        case ConvLayer():
            return _Steps(_conv(make, layer, steps), steps.lengths)
        case MaxPoolLayer():
            return _max_pool(make, layer.window, steps)


def _lstm(make: _Builder, layer: LSTMLayer, steps: _Steps) -> str:
    """An LSTM: of all steps [batch, time, features], or of the last [batch, features]."""
    directions = [each for each in (layer.forward, layer.backward) if each is not None]
    kernels, recurrent_kernels, biases = zip(*map(_onnx_weights, directions), strict=True)
    # Not every program reads rows without a step; what it gives for them is replaced.
    lengths = make.cast(make("Max", steps.lengths, 1), "INT32")
    name = "bidirectional" if len(directions) == 2 else "forward" if layer.forward else "reverse"
    result = make(
        "LSTM",
        make("Transpose", steps.values, perm=[1, 0, 2]),
        np.stack(kernels),
        np.stack(recurrent_kernels),
        np.stack(biases),
        lengths,
        outputs=("Y",) if layer.return_sequences else ("", "Y_h"),
        hidden_size=directions[0].features,
        direction=name,
    )
    if layer.return_sequences:  # [time, directions, batch, features]
        return make("Reshape", make("Transpose", result, perm=[2, 0, 1, 3]), [0, 0, -1])
    last = make("Reshape", make("Transpose", result, perm=[1, 0, 2]), [0, -1])
    return _none_if_empty(make, last, steps.lengths)


def _onnx_weights(weights: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights as ONNX has them: rows for the gates i, o, f, c; a second bias."""

    def ordered(columns: np.ndarray) -> np.ndarray:
        i, f, c, o = np.split(columns.T, 4)
        return np.concatenate([i, o, f, c])

    bias = ordered(weights.bias)
    both = np.concatenate([bias, np.zeros_like(bias)])
    return ordered(weights.kernel), ordered(weights.recurrent_kernel), both


def _conv(make: _Builder, layer: ConvLayer, steps: _Steps) -> str:
    size = len(layer.kernel)
    convolved = make(
        "Conv",
        make("Transpose", _fill(make, steps, 0), perm=[0, 2, 1]),
        layer.kernel.transpose(2, 1, 0),
        layer.bias,
        pads=[(size - 1) // 2, size // 2],
    )
    return make("Transpose", make("Relu", convolved), perm=[0, 2, 1])


def _max_pool(make: _Builder, window: int, steps: _Steps) -> _Steps:
    pooled = make(
        "MaxPool",
        make("Transpose", _fill(make, steps, _LOWEST), perm=[0, 2, 1]),
        kernel_shape=[window],
        strides=[window],
        ceil_mode=1,
    )
    values = make("Transpose", pooled, perm=[0, 2, 1])
    lengths = make("Div", make("Add", steps.lengths, window - 1), window)
    # The one step of an empty row is 0.
    return _Steps(_fill(make, _Steps(values, lengths), 0), make("Max", lengths, 1))


def _pool(make: _Builder, kind: str, steps: _Steps) -> str:
    """The ``"max"`` or ``"mean"`` over valid steps, [batch, features]."""
    if kind == "max":
        highest = make("ReduceMax", _fill(make, steps, _LOWEST), [1], keepdims=0)
        return _none_if_empty(make, highest, steps.lengths)
    total = make("ReduceSum", _fill(make, steps, 0), [1], keepdims=0)
    number = make.cast(make("Max", steps.lengths, 1), "FLOAT")
    return make("Div", total, make("Unsqueeze", number, [1]))


def _wide_logits(make: _Builder, head: WideHead, tokens: _Steps) -> str:
    """The logits of the n-grams; see `flax_imdb.models.Wide`."""
    none = len(head.owners)  # The bucket of an n-gram that does not count.
    all_owners = make.constant(head.owners)
    terms = make.constant(np.concatenate([head.terms, np.zeros_like(head.terms[:1])]))
    is_token = make("Not", make("Equal", tokens.values, np.int32(0)))
    valid = make("And", _valid(make, tokens), is_token)
    totals, numbers = [], []
    for n in range(1, head.ngrams + 1):
        hashes = _hash_ngrams(make, tokens.values, n, NGRAM_HASHES)
        buckets = make("Mod", hashes, none)
        owners = make.cast(make("Gather", all_owners, buckets), "INT64")
        is_known = make("And", valid, make("Equal", owners, hashes))
        buckets = _distinct(make, make("Where", is_known, buckets, none), none)
        totals.append(make("ReduceSum", make("Gather", terms, buckets), [1], keepdims=0))
        counts = make.cast(make("Less", buckets, none), "FLOAT")
        numbers.append(make("ReduceSum", counts, [1]))
    number = make("Max", make("Sum", *numbers), np.float32(1))
    return make("Add", make("Div", make("Sum", *totals), make("Sqrt", number)), head.bias)


def _distinct(make: _Builder, buckets: str, none: int) -> str:
    """The buckets of each row, int64 [batch, time], with `none` for one that comes again."""
    time, outputs = _time(make, buckets), ("Values", "Indices")
    ordered = make("TopK", buckets, time, axis=1, largest=0, outputs=outputs)
    before = make("Slice", make("Pad", ordered, [0, 1, 0, 0], -1), [0], [-1], [1])
    return make("Where", make("Equal", ordered, before), none, ordered)


def _hash_ngrams(make: _Builder, tokens: str, n: int, buckets: int) -> str:
    """The bucket of the `n` tokens that end at each step, int64 [batch, time].

    See `flax_imdb.layers.hash_ngrams`. Sums and products of uint32 are those modulo 2**32.
    """

    def shift(bits: str, direction: str, by: int) -> str:
        return make("BitShift", bits, np.uint32(by), direction=direction)

    def rotate(bits: str, left: int) -> str:
        return make("BitwiseOr", shift(bits, "LEFT", left), shift(bits, "RIGHT", 32 - left))

    padded = make.cast(make("Pad", tokens, [0, n - 1, 0, 0]), "UINT32")
    state = ""
    for start in range(n):
        end = start + 1 - n or _END
        block = make("Slice", padded, [start], [end], [1])
        block = rotate(make("Mul", block, np.uint32(0xCC9E2D51)), 15)
        block = make("Mul", block, np.uint32(0x1B873593))
        state = rotate(make("BitwiseXor", state, block) if state else block, 13)
        state = make("Add", make("Mul", state, np.uint32(5)), np.uint32(0xE6546B64))
    state = make("BitwiseXor", state, np.uint32(4 * n))
    for by, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        state = make("BitwiseXor", state, shift(state, "RIGHT", by))
        state = make("Mul", state, np.uint32(factor))
    state = make("BitwiseXor", state, shift(state, "RIGHT", 16))
    return make.cast(make("Mod", state, np.uint32(buckets)), "INT64")
