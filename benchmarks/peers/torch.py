"""PyTorch: ``torch.nn.LSTM``, on all cores."""

import os

import torch
from torch import nn

from flax_imdb.data import Examples, Planned
from flax_imdb.errors import InputError
from peers import ARCHITECTURES, LEARNING_RATE, Contestant, Task, front_padded


class Peer(Contestant):
    """``torch.nn.LSTM`` in an eager training loop."""

    def __init__(self, task: Task):
        if task.device != "cpu" and not (task.device == "gpu" and torch.cuda.is_available()):
            raise InputError(f"--device {task.device} is not there: this PyTorch finds none")
        torch.set_num_threads(os.cpu_count() or 1)
        self._device = torch.device("cuda" if task.device == "gpu" else "cpu")
        self._task = task
        self._model = _Classifier(task).to(self._device)
        self._loss = nn.BCEWithLogitsLoss()
        self._optimizer = torch.optim.Adam(self._model.parameters(), LEARNING_RATE)

    def versions(self) -> dict[str, str]:
        """Of PyTorch."""
        return {"torch": torch.__version__}

    def load(self, examples: Examples, plan: list[Planned]) -> None:
        """Make the batches, on the device."""
        self._batches = [
            (torch.tensor(tokens, device=self._device), torch.tensor(labels, device=self._device))
            for tokens, labels in front_padded(self._task, examples, plan)
        ]

    def train(self) -> None:
        """Train one step on each batch."""
        for tokens, labels in self._batches:
            self._optimizer.zero_grad()
            self._loss(self._model(tokens), labels).backward()
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

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.arch.reverse:
            tokens = tokens.flip(1)
        x = self.dropout(self.embedding(tokens))
        if self.arch.conv:
            x = nn.functional.relu(self.conv(x.transpose(1, 2)))
            x = nn.functional.max_pool1d(x, 2, ceil_mode=True).transpose(1, 2)
        _, (h, _) = self.lstm(x)
        return self.head(self.dropout(torch.cat(list(h), dim=-1)))
