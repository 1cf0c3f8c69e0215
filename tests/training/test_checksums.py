"""The checksums of a checkpoint's files."""

import subprocess
from pathlib import Path

import pytest

from flax_imdb.errors import InputError
from flax_imdb.training.checksums import NAME, check_checksums, write_checksums


class TestDigests:
    def test_they_are_those_of_sha256sum(self, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        for name in ("a", "b/a file"):
            (tmp_path / name).write_text(name)
        write_checksums(tmp_path)
        check_checksums(tmp_path)
        done = subprocess.run(
            ["sha256sum", "-c", NAME], cwd=tmp_path, capture_output=True, check=True
        )
        assert done.stdout.decode() == "a: OK\nb/a file: OK\n"

    def test_a_directory_in_the_place_of_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("a")
        write_checksums(tmp_path)
        (tmp_path / "a").unlink()
        (tmp_path / "a").mkdir()
        with pytest.raises(InputError, match="its file a is missing"):
            check_checksums(tmp_path)
