"""Names of directories, as a run's is given."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flax_imdb.errors import InputError
from flax_imdb.workdir import Workdir


class TestPath:
    def test_home_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not by `Path`, to which ``./~`` is ``~``."""
        monkeypatch.setenv("HOME", str(tmp_path))
        assert Workdir("~/run").path == tmp_path / "run"
        assert Workdir(Path("~")).path == tmp_path
        assert Workdir("./~").path == Path("~")

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("", "`workdir` is empty: name a directory"),
            ("gs://bucket/run", "`workdir` gs://bucket/run is an address: name a directory of"),
            ("~nobody-of-this-name/run", "`workdir` ~nobody-of-this-name/run: there is no such"),
            ("a\0b", r"`workdir` 'a\\x00b' has a null character"),
            (
                "caf\udce9",
                "`workdir` .*/caf\udce9 is not UTF-8 in this locale, whose encoding is ut",
            ),
            ("\ud800", "`workdir` .* is not UTF-8 in this locale"),
        ],
    )
    def test_that_cannot_be_a_directory_is_refused(self, path: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            Workdir(path)

    def test_that_the_locale_spells_in_another_way_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Checkpoints would be looked for where they are not."""
        monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("latin-1"))
        assert Workdir("cafe").path == Path("cafe")
        for path in ("café", "\u4e2d"):
            with pytest.raises(InputError, match="is not UTF-8 in this locale"):
                Workdir(path)

    def test_relative_to_a_directory_that_is_gone_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        assert Workdir(tmp_path / "run").path == tmp_path / "run"
        with pytest.raises(InputError, match="`workdir` run: the current directory cannot be read"):
            Workdir("run")

    @pytest.mark.parametrize("read", [Workdir.config, Workdir.vocabulary, Workdir.check_free])
    def test_that_is_too_long_is_refused(self, tmp_path: Path, read: Callable) -> None:
        with pytest.raises(InputError, match="cannot be read: File name too long"):
            read(Workdir(tmp_path / ("a" * 300)))
