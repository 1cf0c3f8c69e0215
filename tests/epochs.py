"""Epoch records made without training."""

from typing import Any

from flax_imdb.training import EpochRecord


def epochs(*steps: int, accuracies: tuple[float, ...] = ()) -> list[EpochRecord]:
    """Records of epochs that ended at these steps, with these validation accuracies."""
    zeros: dict[str, Any] = dict.fromkeys(EpochRecord.__annotations__, 0)
    return [
        EpochRecord(
            **{
                **zeros,
                "monitor": "accuracy",
                "epoch": number + 1,
                "step": step,
                "eval_split": "validation" if accuracies else "test",
                "eval_accuracy": accuracies[number] if accuracies else 0.5,
            }
        )
        for number, step in enumerate(steps)
    ]
