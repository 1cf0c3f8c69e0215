"""Whether an error comes of the loss of another process."""

import jax
import pytest

from flax_imdb.watch import loss

GLOO = "UNKNOWN: Gloo AllGather failed: Connection reset by peer [127.0.0.1]:1234"


@pytest.mark.parametrize("kind", [jax.errors.JaxRuntimeError, ValueError, RuntimeError, OSError])
def test_a_lost_process_is_one_whatever_class_reports_it(kind: type[Exception]) -> None:
    said = loss(kind(GLOO))
    assert said == f"another process has ended or cannot be reached: {GLOO}"


@pytest.mark.parametrize(
    "reason",
    [
        "UNAVAILABLE: failed to connect to all addresses",
        "DEADLINE_EXCEEDED: Barrier timed out.",
        "INTERNAL: NCCL operation ncclAllReduce failed",
        "ABORTED: The coordination service has been shut down",
        "INTERNAL: Coordination service\nis gone",
    ],
)
def test_whichever_layer_reports_it(reason: str) -> None:
    said = loss(jax.errors.JaxRuntimeError(reason))
    assert said is not None
    assert "\n" not in said


def test_a_lost_process_is_found_behind_another_error() -> None:
    behind = RuntimeError("while saving")
    behind.__cause__ = ValueError(GLOO)
    assert loss(behind) is not None
    assert loss(ExceptionGroup("of threads", [ValueError(GLOO)])) is not None


@pytest.mark.parametrize(
    "error",
    [
        ValueError("operands could not be broadcast together"),
        jax.errors.JaxRuntimeError("INVALID_ARGUMENT: gloo was given a wrong buffer"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"),
        jax.errors.JaxRuntimeError("INTERNAL: a kernel failed"),
        KeyError("gloo"),
    ],
)
def test_a_bug_is_not_explained_away(error: Exception) -> None:
    assert loss(error) is None
