"""What all commands say and do the same way."""

import os
import signal
from pathlib import Path

import pytest

from flax_imdb.cli.flags import leaving_nothing
from flax_imdb.paths import writing


def test_sigterm_leaves_no_unfinished_file(tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit) as ended,
        leaving_nothing(),
        writing("`output`", tmp_path / "file", False),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
