"""A few reviews in the layout of IMDB's archive, and a server to download them from."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flax_imdb.errors import InputError

PER_LABEL = {"train": 6, "test": 4}
DATASET = Path("imdb_reviews/plain_text/1.0.0")
TRAIN_SHARD = "imdb_reviews-train.array_record-00000-of-00001"


def text_of(split: str, label: str, review_id: int) -> str:
    return f"Née in {split}, {label}:<br />number {review_id}."


def make_folder(folder: Path) -> Path:
    """Make an `aclImdb` folder with a few reviews, and two without a label as in the original."""
    for split, count in PER_LABEL.items():
        for label in ("neg", "pos"):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                # Ids of one and two digits, and trailing whitespace, which tfds strips.
                file = folder / split / label / f"{3 * i}_{i}.txt"
                file.write_bytes(f"{text_of(split, label, 3 * i)}\n".encode())
    (folder / "train" / "unsup").mkdir()
    for i in range(2):
        (folder / "train" / "unsup" / f"{i}_0.txt").write_text(f"unlabelled {i}")
    return folder


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """A web server on this machine; yields its address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextlib.contextmanager
def one_line_error(match: str) -> Iterator[None]:
    with pytest.raises(InputError, match=match) as caught:
        yield
    assert "\n" not in str(caught.value)
