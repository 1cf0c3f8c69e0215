"""Which devices a run uses, and how arrays are laid out on them."""

from typing import Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flax_imdb.errors import InputError

DeviceName = Literal["auto", "cpu", "gpu", "tpu"]


def select_devices(name: DeviceName = "auto") -> list[jax.Device]:
    """All devices of a kind; ``"auto"`` is the kind that JAX prefers.

    Raises:
      InputError: JAX has none of that kind.
    """
    if name == "auto":
        return jax.devices()
    try:
        return jax.devices(name)
    except RuntimeError:
        present = {kind(device) for device in (*jax.devices(), *jax.devices("cpu"))}
        raise InputError(
            f"--device {name} is not there: JAX {jax.__version__} finds "
            f"{', '.join(sorted(present))} (docs/devices.md says how to install others)"
        ) from None


def kind(device: jax.Device) -> str:
    """The name that `--device` knows a device by."""
    return "gpu" if device.platform in ("cuda", "rocm") else device.platform


def make_mesh(devices: list[jax.Device]) -> Mesh:
    """The devices in a row, along an axis named ``"batch"``."""
    return Mesh(np.array(devices), ("batch",))


def by_row(mesh: Mesh) -> NamedSharding:
    """Sharding that gives each device an equal share of the rows."""
    return NamedSharding(mesh, PartitionSpec("batch"))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding that gives each device the whole array."""
    return NamedSharding(mesh, PartitionSpec())
