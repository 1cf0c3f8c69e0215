"""A state dict for PyTorch, in safetensors, and the module that loads it."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from flax_imdb.export.check import Answer
from flax_imdb.export.network import (
    ConvLayer,
    LSTMLayer,
    Network,
    check_texts,
    network,
    only_plain,
)
from flax_imdb.predict import TrainedModel
from flax_imdb.training.metrics import of_each_class

NEEDS = {"torch": "torch", "safetensors": "safetensors"}


def write(model: TrainedModel, path: Path) -> dict[str, Any]:
    """Write the parameters under the names that the module in docs/exports.md gives them.

    Raises:
      InputError: PyTorch's layers cannot hold the model.
    """
    from safetensors.numpy import save

    check_texts(model, "torch")
    config = model.config.model
    told = {"format": "pt", "arch": config.arch, "pooling": config.pooling}
    if model.info.multi_label:
        told["multi_label"] = "true"
    path.write_bytes(save(state_dict(only_plain(network(model), "torch")), told))
    return {"pooling": config.pooling, "output": "logits"}


def read(path: Path) -> Answer:
    """A function from tokens and lengths to probabilities, which PyTorch computes."""
    import torch
    from safetensors import safe_open

    module = load(path)
    with safe_open(path, "pt") as file:
        multi_label = "multi_label" in file.metadata()

    def answer(
        tokens: Int[np.ndarray, "batch time"], lengths: Int[np.ndarray, " batch"]
    ) -> Float[np.ndarray, "batch classes"]:
        logits = module.head.out_features
        if len(tokens) == 0:  # PyTorch refuses to pack that.
            return np.empty((0, logits if multi_label else max(2, logits)), np.float32)
        with torch.inference_mode():
            outputs = module(torch.tensor(tokens), torch.tensor(lengths))
        if logits > 1 and not multi_label:
            return np.asarray(outputs.softmax(-1))
        return of_each_class(np.asarray(outputs.sigmoid()), multi_label)

    return answer


def state_dict(network: Network) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a network without n-grams, as PyTorch has them."""
    arrays = {
        "embedding.weight": network.embedding,
        "head.weight": network.kernel.T,
        "head.bias": network.bias,
    }
    lstms = [layer for layer in network.layers if isinstance(layer, LSTMLayer)]
    for number, lstm in enumerate(lstms):
        forward = lstm.forward or lstm.backward  # PyTorch knows none that reads backwards alone.
        both = {"": forward, "_reverse": lstm.backward if lstm.forward else None}
        for end, weights in both.items():
            if weights is not None:
                arrays[f"lstm.weight_ih_l{number}{end}"] = weights.kernel.T
                arrays[f"lstm.weight_hh_l{number}{end}"] = weights.recurrent_kernel.T
                arrays[f"lstm.bias_ih_l{number}{end}"] = weights.bias
                arrays[f"lstm.bias_hh_l{number}{end}"] = np.zeros_like(weights.bias)
    for layer in network.layers:
        if isinstance(layer, ConvLayer):
            arrays["conv.weight"], arrays["conv.bias"] = layer.kernel.transpose(2, 1, 0), layer.bias
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


# docs/exports.md shows this function: it needs nothing else of this module.
def load(path: Any) -> Any:
    """The module of a file: from tokens [batch, time] and lengths [batch] to logits."""
    import torch
    from safetensors import safe_open
    from torch.nn import LSTM, Conv1d, Embedding, Linear, Module, functional
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    class Classifier(Module):
        def __init__(self, weights: Any, arch: str, pooling: str) -> None:
            super().__init__()
            self.backwards, self.pooling = arch == "reversed_lstm", pooling
            self.embedding = Embedding(*weights["embedding.weight"].shape)
            filters, width, size = weights.get("conv.weight", torch.empty(0, 0, 0)).shape
            self.conv = Conv1d(width, filters, size, padding=1) if filters else None
            gates, width = weights["lstm.weight_ih_l0"].shape
            layers = sum(name.startswith("lstm.bias_ih") for name in weights)
            both = "lstm.bias_ih_l0_reverse" in weights
            layers = layers // 2 if both else layers
            self.lstm = LSTM(width, gates // 4, layers, batch_first=True, bidirectional=both)
            self.head = Linear(*weights["head.weight"].mT.shape)
            self.load_state_dict(weights)

        def forward(self, tokens: Any, lengths: Any) -> Any:
            x = self.embedding(tokens)
            steps = torch.arange(tokens.shape[1], device=tokens.device)
            if self.conv is not None:
                valid = steps < lengths[:, None, None]
                x = self.conv(x.mT * valid).relu() * valid
                x = functional.max_pool1d(x, 2, ceil_mode=True).mT
                lengths = ((lengths + 1) // 2).clamp(min=1)
            if self.backwards:  # Each text is turned around, and its padding stays behind it.
                order = (lengths[:, None] - 1 - steps).clamp(min=0)
                x = x.gather(1, order[:, :, None].expand_as(x))
            at_least_1 = lengths.clamp(min=1)
            packed = pack_padded_sequence(x, at_least_1.cpu(), True, enforce_sorted=False)
            outputs, (last, _) = self.lstm(packed)
            x = {"last": torch.cat([*last[-2 if self.lstm.bidirectional else -1 :]], -1)}
            outputs, _ = pad_packed_sequence(outputs, True)
            padding = torch.arange(outputs.shape[1], device=x["last"].device) >= at_least_1[:, None]
            x["max"] = outputs.masked_fill(padding[:, :, None], -torch.inf).amax(1)
            x["mean"] = outputs.sum(1) / at_least_1[:, None]  # 0 at padding.
            pooled = torch.cat([x[each] for each in self.pooling.split("_")], -1)
            return self.head(pooled * (lengths > 0)[:, None])

    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        told = file.metadata()
    return Classifier(weights, told["arch"], told["pooling"]).eval()
