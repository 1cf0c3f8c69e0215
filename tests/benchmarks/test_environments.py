"""The benchmark of environments notices what is wrong in one."""

from pathlib import Path
from typing import Any

import pytest
from environments import Bench, Case


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bench, "_train", lambda self, name, epochs: float(epochs))
        return Bench(tmp_path_factory.mktemp("environments"))


def case(shell: str, **expected: Any) -> Case:
    return Case("name", shell, **{"loss": "none", **expected})


RESULT = """mkdir w; echo '{"test_loss": 1.0}' >w/result.json"""


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (case("exit 2", status=2), []),
        (case("exit 2"), ["its status is 2, not 0"]),
        (case("echo error: a >&2", says="error: a"), []),
        (case("echo error: a >&2"), ["it says something"]),
        (case("true", says="warning: a"), ["it does not say once 'warning: a'"]),
        (
            case("(echo error: a; echo error: b) >&2", says="error"),
            ["it does not say once 'error'"],
        ),
        (case("echo Traceback"), ["there is a traceback"]),
        (case("true", then="[ -e w ]"), ["afterwards it is not so that [ -e w ]"]),
        (case(RESULT, loss="plain"), []),
        (case(RESULT, loss="two"), ["its test loss is 1.0"]),
        (case(RESULT), ["its test loss is 1.0"]),
        (case("true", loss="near"), ["its test loss is None"]),
        (case("unprivileged sh -c 'mkdir -m 000 d; ls d' || exit 3", status=3), []),
    ],
)
def test_all_that_is_wrong_in_an_environment_is_said(
    bench: Bench, tmp_path: Path, given: Case, wrong: list[str]
) -> None:
    assert bench.attempt(len(list(bench.directory.iterdir())), given).wrong == wrong


def test_no_path_of_the_machine_is_recorded(bench: Bench) -> None:
    outcome = bench.attempt(99, case('echo "error: $PWD/w $ROOT/train.py" >&2', says="error"))
    assert outcome.said == ["error: ./w flax_imdb/train.py"]
