"""A model as a compiled program: one file that ``jax.export.deserialize`` reads.

The program takes ``tokens`` and ``lengths``, int32 [batch, time] and [batch], and gives the
probabilities, float32 [batch, classes]. Of a model of numeric sequences it takes ``inputs`` instead
of tokens, float32 [batch, time, features], as they are: it standardizes them. The batch may have
any size from 1 on, and the time any from ``min_time`` on. The weights are constants in it.
"""

import datetime
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flax_imdb.environment import fixed_settings
from flax_imdb.errors import InputError, one_line
from flax_imdb.export.check import Answer
from flax_imdb.export.network import check_size, function
from flax_imdb.predict import TrainedModel

NEEDS = {"flatbuffers": "flatbuffers"}

PLATFORMS = ("cpu", "cuda", "tpu")

# The first with which JAX can prove that a layer has steps to compute is what arrays need at least.
_MIN_TIMES = [2**exponent for exponent in range(11)]

# The guarantee counts from the day when jaxlib was built, which it does not tell.
_GUARANTEE = (
    "JAX guarantees that it reads and runs this file with versions of jax and jaxlib that were "
    "built up to 6 months after those that wrote it, or up to 3 weeks before them. They were built "
    "on the day of writing or earlier, so that the guarantee ends with `guaranteed_until` or "
    "earlier. See https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees"
)
_SIX_MONTHS = datetime.timedelta(days=181)


def write(model: TrainedModel, path: Path) -> dict[str, Any]:
    """Write the program, for `PLATFORMS`.

    Returns:
      ``min_time``; ``platforms``; ``calling_convention_version``, of `jax.export`; JAX's
      ``guarantee`` that later versions read the file, and ``guaranteed_until``, its latest end.

    Raises:
      InputError: JAX cannot translate the model for all platforms, or it is too large.
    """
    check_size(model, "stablehlo")
    exported, min_time = _export(model)
    path.write_bytes(exported.serialize())
    today = datetime.datetime.now(datetime.UTC).date()
    return {
        "min_time": min_time,
        "platforms": list(exported.platforms),
        "calling_convention_version": exported.calling_convention_version,
        "guarantee": _GUARANTEE,
        "guaranteed_until": (today + _SIX_MONTHS).isoformat(),
    }


def read(path: Path) -> Answer:
    """Read the program and the file beside it. Of other libraries it takes jax and flatbuffers."""
    call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
    about = json.loads(path.with_name(f"{path.name}.json").read_text())

    def answer(inputs: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        if len(inputs) == 0:  # JAX's symbolic sizes begin with 1.
            return np.empty((0, len(about["classes"])), np.float32)
        missing = max(0, about["min_time"] - inputs.shape[1])
        padding = [(0, 0), (0, missing), (0, 0)][: inputs.ndim]
        return np.asarray(call(np.pad(inputs, padding), lengths))

    return answer


@fixed_settings()
def _export(model: TrainedModel) -> tuple[jax.export.Exported, int]:
    """The program, and the number of steps that its arrays need at least."""
    apply, variables = function(model)
    program = jax.jit(lambda inputs, lengths: apply(variables, inputs, lengths))
    blank = model.info.task.blank
    for min_time in _MIN_TIMES:
        batch, time = jax.export.symbolic_shape("b, t", constraints=[f"t >= {min_time}"])
        inputs = jax.ShapeDtypeStruct((batch, time, *blank.shape[1:]), blank.dtype)
        lengths = jax.ShapeDtypeStruct((batch,), jnp.int32)
        try:
            # So that all platforms give the same numbers; by default accelerators round more.
            with jax.default_matmul_precision("highest"):
                return jax.export.export(program, platforms=PLATFORMS)(inputs, lengths), min_time
        except jax.errors.InconclusiveDimensionOperation as error:
            reason: Exception = error
        except Exception as error:  # Whatever JAX raises for a layer of the user's own.
            reason = error
            break
    raise InputError(
        f"`arch` {model.config.model.arch} cannot be translated for {', '.join(PLATFORMS)}: "
        + one_line(reason)
    ) from reason
