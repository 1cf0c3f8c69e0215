"""What all commands say and do the same way."""

import os
import signal
from pathlib import Path

import pytest

from flax_imdb.cli.flags import leaving_nothing
from flax_imdb.paths import writing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_unfinished_file(number: signal.Signals, tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit) as ended,
        leaving_nothing(),
        writing("`output`", tmp_path / "file", False),
    ):
        os.kill(os.getpid(), number)
    assert ended.value.code == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) == signal.SIG_DFL
