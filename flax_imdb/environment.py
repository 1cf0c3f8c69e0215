"""The environment of a run: all that decides its bits besides the configuration.

These are JAX's settings, versions and the machine.
"""

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import flax
import jax

import flax_imdb
from flax_imdb.errors import InputError

# Settings that change the random numbers (other than those that `fixed_settings` fixes).
_DRAWS = ("jax_random_seed_offset", "flax_fix_rng_separator")

# Settings that change the rounding, as other versions and devices do.
_JAX_ROUNDS = (
    "jax_default_matmul_precision",
    "jax_cpu_collectives_implementation",
    "jax_disable_most_optimizations",
    "jax_exec_time_optimization_effort",
    "jax_optimization_level",
)
_VARIABLES_ROUND = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")

# The XLA flag for the number of CPU devices, which is recorded separately.
CPU_DEVICES_FLAG = "--xla_force_host_platform_device_count"


@contextlib.contextmanager
def fixed_settings() -> Iterator[None]:
    """Context manager in which this thread's results do not depend on the user's JAX settings.

    Settings for random numbers and default dtypes have JAX's defaults, and implicit promotions and
    transfers are allowed.

    Raises:
      InputError: compilation is disabled.
    """
    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        raise InputError(
            "JAX_DISABLE_JIT is set, and a run consists of compiled functions: unset it"
        )
    with (
        jax.enable_x64(False),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.transfer_guard("allow"),
    ):
        yield


def versions() -> dict[str, str]:
    """Versions of the software that determines the numbers of a run."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "flax_imdb": flax_imdb.__version__,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


def describe(devices: Sequence[jax.Device]) -> dict[str, str]:
    """Everything in the environment that decides the bits of a run on `devices`, by name."""
    first = devices[0]
    flags = os.environ.get("XLA_FLAGS", "").split()
    variables = {name: os.environ.get(name, "") for name in _VARIABLES_ROUND} | {
        "XLA_FLAGS": " ".join(flag for flag in flags if not flag.startswith(CPU_DEVICES_FLAG))
    }
    return {
        **versions(),
        "devices": f"{len(devices)} x {first.device_kind}",
        "processes": str(jax.process_count()),
        "platform": " ".join(first.client.platform_version.split()),
        "machine": _cpu() if first.platform == "cpu" else platform.machine(),
        **{name: value or "not set" for name, value in variables.items()},
        **_settings((*_JAX_ROUNDS, *_DRAWS)),
    }


def difference(then: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """A warning for a run that was trained in environment `then` and resumes in `now`.

    None if they do not differ, or one of them is empty (not known).

    Raises:
      InputError: the run would draw other random numbers.
    """
    changed = changes(then, now)
    if not changed:
        return None
    return (
        "the run goes on in another environment, and rounds differently from here on: "
        f"{listed(changed)}"
    )


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What differs between two environments, by name: the values then and now.

    None does where one of them is empty (not known), as in checkpoints of older versions. What one
    of them alone has is left out: other versions of JAX have other settings.

    Raises:
      InputError: the run would draw other random numbers.
    """
    names = [name for name in now if name in then]
    changed = {name: (then[name], now[name]) for name in names if then[name] != now[name]}
    for name in _DRAWS:
        if name in changed:
            was, is_now = changed[name]
            raise InputError(
                f"{name.upper()} {is_now} is not what the run was trained with ({was}): it would "
                "go on with other random numbers"
            )
    return changed


def listed(changed: Mapping[str, tuple[str, str]]) -> str:
    """What `changes` returns, in words."""
    return "; ".join(f"{name} {now} (was {was})" for name, (was, now) in changed.items())


def _settings(names: Sequence[str]) -> dict[str, str]:
    """The values of the settings that this version of JAX and Flax has."""
    owners = {name: flax.config if name.startswith("flax_") else jax.config for name in names}
    return {
        name: str(getattr(owner, name)) for name, owner in owners.items() if hasattr(owner, name)
    }


def _cpu() -> str:
    """The CPU's model, which determines the instructions that XLA uses."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
