"""Which devices there are, and what is said of those that are not."""

import dataclasses

import jax
import pytest
from fresh_process import output

from flax_imdb import distributed
from flax_imdb.devices import (
    cores_for_each,
    devices_like,
    in_words,
    number_of_cpus,
    select_devices,
)
from flax_imdb.errors import InputError
from flax_imdb.host import Place

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


@dataclasses.dataclass
class Device:
    process_index: int
    platform: str = "cuda"
    device_kind: str = "H100"


@pytest.mark.parametrize("platform", ["cuda", "cpu"])
def test_processes_with_different_numbers_of_devices_are_refused(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    devices = [Device(process, platform) for process in (0, 0, 1)]
    monkeypatch.setattr(jax, "devices", lambda kind=None: devices)
    with pytest.raises(InputError, match="`device` auto: the processes have 2, 1 devices: each"):
        select_devices("auto")


class TestSeveralProcesses:
    """Two of them, as if this were the first."""

    @pytest.fixture(autouse=True)
    def two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(jax, "process_count", lambda: 2)

    def selected(
        self, monkeypatch: pytest.MonkeyPatch, places: list[Place], platform: str, each: int
    ) -> str:
        devices = [Device(process, platform) for process in (0, 1) for _ in range(each)]
        monkeypatch.setattr(distributed, "_places", tuple(places))
        monkeypatch.setattr(jax, "devices", lambda kind=None: devices)
        return in_words(select_devices("auto"))

    def test_a_line_says_what_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        places = [Place("a", frozenset({0, 1})), Place("b", frozenset({0}))]
        assert self.selected(monkeypatch, places, "cuda", 4) == (
            "8 x H100, 4 in each of 2 processes on 2 hosts"
        )
        assert cores_for_each() == 1  # As many as the one with fewer has.

    @pytest.mark.parametrize(
        ("place", "platform", "each", "complaint"),
        [
            (Place("a", frozenset(range(4))), "cpu", 2, ""),
            (
                Place("a", frozenset(range(3))),
                "cpu",
                2,
                "2 processes with 2 CPU devices each have 3 cores of one host",
            ),
            (
                Place("a", frozenset(range(4)), {"cgroup": 1.5}),
                "cpu",
                1,
                "2 processes with 1 CPU devices each have 1.5 cores of one host",
            ),
            (Place("a", frozenset({0}), gpus=("0", "1")), "cuda", 1, ""),
            (
                Place("a", frozenset({0}), gpus=("0",)),
                "cuda",
                1,
                "2 processes of one host see the same 1 GPUs",
            ),
        ],
    )
    def test_more_than_there_is_gives_a_warning(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        place: Place,
        platform: str,
        each: int,
        complaint: str,
    ) -> None:
        self.selected(monkeypatch, [place, place], platform, each)
        errors = capsys.readouterr().err
        assert errors.count("warning: ") == bool(complaint)
        assert complaint in errors


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
