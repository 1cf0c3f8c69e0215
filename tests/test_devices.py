"""Which devices there are, and what is said of those that are not."""

import dataclasses

import jax
import pytest
from fresh_process import output

from flax_imdb.devices import devices_like, number_of_cpus, select_devices
from flax_imdb.errors import InputError

SELECT = """
import sys
from flax_imdb.devices import devices_like, number_of_cpus, select_devices
from flax_imdb.errors import InputError

try:
    print(len(select_devices(sys.argv[1])))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu"])
def test_a_platform_that_excludes_what_is_there_is_named(device: str) -> None:
    assert output(SELECT, device, JAX_PLATFORMS="cuda", CUDA_VISIBLE_DEVICES="") == (
        f"JAX {jax.__version__} finds no device: JAX_PLATFORMS=cuda lets JAX look for nothing "
        "else: unset it"
    )


def test_a_platform_that_excludes_what_is_asked_for_is_named() -> None:
    with pytest.raises(
        InputError, match="finds cpu \\(JAX_PLATFORMS=cpu lets JAX look for nothing"
    ):
        select_devices("tpu")


@pytest.mark.parametrize(
    "setting",
    [
        {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"},
        {"JAX_NUM_CPU_DEVICES": "5"},
    ],
)
def test_the_number_of_cpu_devices_is_what_the_user_has_chosen(setting: dict[str, str]) -> None:
    assert output(SELECT, "cpu", **{"XLA_FLAGS": "", **setting}) == "5"


def test_processes_with_different_numbers_of_accelerators_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclasses.dataclass
    class Device:
        process_index: int
        platform: str = "cuda"

    monkeypatch.setattr(jax, "devices", lambda kind=None: [Device(0), Device(0), Device(1)])
    with pytest.raises(InputError, match="`device` gpu: the processes have 2, 1 devices: each"):
        select_devices("gpu")


def test_no_device_at_all_is_an_error_with_jaxs_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str | None = None) -> list[jax.Device]:
        raise RuntimeError("Unable to initialize backend 'abacus'")

    monkeypatch.setattr(jax, "devices", unknown)
    with pytest.raises(InputError, match="finds no device: Unable to initialize backend 'abacus'"):
        select_devices("auto")


def test_devices_like_those_of_a_run_are_as_many_of_the_same_kind() -> None:
    assert devices_like("3 x cpu") == jax.devices("cpu")[:3]
    assert (number_of_cpus("3 x cpu"), number_of_cpus("3 x NVIDIA x y")) == (3, 0)
    for described, found in (("5 x cpu", "4 x cpu"), ("1 x NVIDIA x y", "none but CPUs")):
        with pytest.raises(InputError, match=f"on {described}, and JAX .* has {found} here"):
            devices_like(described)


def test_there_are_as_many_cpu_devices_as_a_run_had() -> None:
    code = """
from flax_imdb.devices import devices_like, set_cpu_devices
set_cpu_devices(9)
print(len(devices_like("9 x cpu")))
"""
    assert output(code, XLA_FLAGS="") == "9"
