"""PyTorch: ``torch.nn.LSTM``, on all cores."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from flax_imdb.data import Batching, Examples, Planned
from flax_imdb.errors import InputError
from peers import ARCHITECTURES, LEARNING_RATE, Contestant, Task


class Peer(Contestant):
    """``torch.nn.LSTM`` in an eager training loop.

    With `packed` rows of different lengths are given as a packed sequence, which spares padding;
    else they are padded at the front.
    """

    def __init__(self, task: Task, *, packed: bool = False):
        if task.device != "cpu" and not (task.device == "gpu" and torch.cuda.is_available()):
            raise InputError(f"`device` {task.device} is not there: this PyTorch finds none")
        torch.set_num_threads(os.cpu_count() or 1)
        self._device = torch.device("cuda" if task.device == "gpu" else "cpu")
        self._task, self._packed = task, packed
        self._model = _Classifier(task).to(self._device)
        self._loss = nn.BCEWithLogitsLoss()
        self._optimizer = torch.optim.Adam(self._model.parameters(), LEARNING_RATE)

    def versions(self) -> dict[str, str]:
        """Of PyTorch, and of cuDNN where it is there."""
        versions = {"torch": str(torch.__version__)}
        if self._device.type == "cuda":
            versions["cudnn of torch"] = str(torch.backends.cudnn.version())
        return versions

    def peak_memory_mb(self) -> float | None:
        """Of the device where it has memory of its own, else of the process."""
        if self._device.type == "cuda":
            return 1e-6 * torch.cuda.max_memory_allocated()
        return super().peak_memory_mb()

    def load(self, examples: Examples, plan: Sequence[Planned]) -> None:
        """Make the batches, on the device; PyTorch wants the lengths in main memory."""
        batching = Batching(
            self._task.batch_size,
            self._task.max_length,
            padding="masked" if self._packed else "keras",
        )
        self._batches = []
        for planned in plan:
            batch = batching.make(examples, planned)
            labels = batch["labels"][:, None].astype(np.float32)
            tokens = batch["tokens"]
            if ARCHITECTURES[self._task.arch].reverse:
                for row, length in zip(tokens, batch["lengths"], strict=True):
                    row[:length] = row[:length][::-1].copy()
            on_device = (torch.tensor(array, device=self._device) for array in (tokens, labels))
            # Not even a row that only fills the batch may be empty.
            lengths = torch.tensor(np.maximum(batch["lengths"], 1)) if self._packed else None
            self._batches.append((*on_device, lengths))

    def train(self) -> None:
        """Train one step on each batch."""
        for tokens, labels, lengths in self._batches:
            self._optimizer.zero_grad()
            self._loss(self._model(tokens, lengths), labels).backward()
            self._optimizer.step()
        if self._device.type == "cuda":
            torch.cuda.synchronize()


class _Classifier(nn.Module):
    def __init__(self, task: Task):
        super().__init__()
        self.arch = ARCHITECTURES[task.arch]
        width = task.embedding_features
        self.embedding = nn.Embedding(task.vocab_size, width)
        if self.arch.conv:
            self.conv = nn.Conv1d(width, 32, 3, padding="same")
            width = 32
        directions = 2 if self.arch.bidirectional else 1
        self.lstm = nn.LSTM(
            width, task.features, batch_first=True, bidirectional=self.arch.bidirectional
        )
        self.dropout = nn.Dropout(self.arch.dropout)
        self.head = nn.Linear(directions * task.features, 1)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        x = self.dropout(self.embedding(tokens))
        if self.arch.conv:
            x = nn.functional.relu(self.conv(x.transpose(1, 2)))
            x = nn.functional.max_pool1d(x, 2, ceil_mode=True).transpose(1, 2)
            lengths = None if lengths is None else (lengths + 1) // 2
        if lengths is not None:
            x = nn.utils.rnn.pack_padded_sequence(
                x, lengths, batch_first=True, enforce_sorted=False
            )
        _, (h, _) = self.lstm(x)
        return self.head(self.dropout(torch.cat(list(h), dim=-1)))
