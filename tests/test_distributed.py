"""Several processes; whole/test_processes.py starts some."""

import os
from typing import Any

import jax
import pytest
from jobs import free_port

from flax_imdb import distributed
from flax_imdb.distributed import Processes, all_gather, everywhere, join, on_main
from flax_imdb.errors import InputError


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"coordinator": "host:1"}, "go together: `num_processes` is missing"),
        ({"num_processes": 2, "process_id": 0}, "go together: `coordinator` is missing"),
        ({"coordinator": "host", "num_processes": 2, "process_id": 0}, "host is no address"),
        ({"coordinator": ":80", "num_processes": 2, "process_id": 0}, ":80 is no address"),
        ({"coordinator": "a:99999", "num_processes": 2, "process_id": 0}, "a:99999 is no address"),
        ({"coordinator": "a:1", "num_processes": 0, "process_id": 0}, "`num_processes` 0 is too"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": -1}, "`process_id` -1 is too"),
        ({"coordinator": "a:1", "num_processes": 2, "process_id": 2}, "counted from 0 to 1"),
        ({"timeout": 0}, "`timeout` 0 is too small: 1 or more is needed"),
        ({"timeout": 86_401}, "`timeout` 86401 is too large"),
    ],
)
def test_flags_of_processes_that_make_no_sense_are_refused(
    settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        Processes(**settings)


def test_a_process_in_which_jax_has_started_cannot_join() -> None:
    jax.devices()
    alone = Processes(coordinator=f"127.0.0.1:{free_port()}", num_processes=1, process_id=0)
    with pytest.raises(InputError, match="JAX has started already"):
        join(alone)


def test_of_what_is_written_while_gloo_connects_its_lines_alone_are_dropped(
    capfd: pytest.CaptureFixture[str],
) -> None:
    gloo = b"[Gloo] Rank 0 is connected to 1 peer ranks. Expected number of connected peer ranks\n"
    print("before")
    with distributed._without_lines_of_gloo():
        os.write(1, gloo + b"of another library\n" + gloo + b"no end of line")
    print(", after")
    assert capfd.readouterr().out == "before\nof another library\nno end of line, after\n"


class TestAlone:
    def test_a_process_gathers_what_it_gives(self) -> None:
        assert all_gather({"a": (1, 2)}) == [{"a": (1, 2)}]

    def test_functions_return_and_raise_what_they_would(self) -> None:
        def double(number: int) -> int:
            if number < 0:
                raise InputError("no")
            return 2 * number

        for call in (on_main(double), lambda number: everywhere(double, number)):
            assert call(3) == 6
            with pytest.raises(InputError, match="no"):
                call(-1)
