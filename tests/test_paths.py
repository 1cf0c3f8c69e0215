"""Names of directories, as a run's is given."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flax_imdb.errors import InputError
from flax_imdb.paths import cache_dir, writing
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

    @pytest.mark.parametrize("read", [Workdir.config, Workdir.dataset_info, Workdir.check_free])
    def test_that_is_too_long_is_refused(self, tmp_path: Path, read: Callable) -> None:
        with pytest.raises(InputError, match="cannot be read: File name too long"):
            read(Workdir(tmp_path / ("a" * 300)))


class TestWriting:
    def write(self, path: Path, meanwhile: Callable[[], object], overwrite: bool = False) -> None:
        with writing("`output`", path, overwrite) as file:
            file.write(b"new")
            meanwhile()

    def test_a_file_gets_its_name_once_it_is_complete(self, tmp_path: Path) -> None:
        there = []
        self.write(tmp_path / "a", lambda: there.append((tmp_path / "a").exists()))
        assert there == [False]
        assert (tmp_path / "a").read_bytes() == b"new"

    def test_one_that_another_program_wrote_meanwhile_stays(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"`output` .*a exists: `overwrite` replaces it"):
            self.write(tmp_path / "a", lambda: (tmp_path / "a").write_bytes(b"theirs"))
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"theirs"]

    def test_two_may_write_the_same_file_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In two containers the processes may have the same number."""
        monkeypatch.setattr(os, "getpid", lambda: 7)
        self.write(tmp_path / "a", lambda: self.write(tmp_path / "a", lambda: None), overwrite=True)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]

    def test_nothing_is_left_where_it_fails(self, tmp_path: Path) -> None:
        def fail() -> None:
            raise OSError(28, "No space left on device")

        (tmp_path / "a").write_bytes(b"old")
        with pytest.raises(InputError, match=r"`output` .*a cannot be written: No space left"):
            self.write(tmp_path / "a", fail, overwrite=True)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


class TestCacheDir:
    def test_it_is_named_by_a_variable_or_is_in_the_home_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("FLAX_IMDB_CACHE", "~/x")
        assert cache_dir() == tmp_path / "x"
        monkeypatch.delenv("FLAX_IMDB_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", "~/y")
        assert cache_dir() == tmp_path / "y" / "flax_imdb"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_dir() == tmp_path / ".cache" / "flax_imdb"

    def test_without_a_home_it_must_be_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("FLAX_IMDB_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)

        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", no_home)
        with pytest.raises(
            InputError, match=r"there is no home directory .* FLAX_IMDB_CACHE must name"
        ):
            cache_dir()
