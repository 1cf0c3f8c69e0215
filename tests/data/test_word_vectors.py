"""Reading word vectors: their forms, which word has which, and what is refused."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_rows import written

from flax_imdb.data import Examples, Vocabulary, read_word_vectors, sha256_of
from flax_imdb.data.tokenizer import SPECIAL_TOKENS, UNKNOWN
from flax_imdb.data.words import TextRules
from flax_imdb.errors import InputError

LINES = ["the 0.5 -1 2e-1", "film 1 2 3", "dull .25 4. +5", "Paris 7 8 9"]
VECTORS = {"the": [0.5, -1, 0.2], "film": [1, 2, 3], "dull": [0.25, 4, 5]}
WORDS = [*VECTORS, "unseen"]


def read(path: Path, *words: str, rules: TextRules = "unicode", **options: Any) -> dict[str, Any]:
    """The vectors by word."""
    vocabulary = Vocabulary(words or WORDS, rules)
    found = read_word_vectors(path, vocabulary, **options)
    names = [*SPECIAL_TOKENS, *vocabulary.words]
    assert (found.ids.dtype, found.vectors.dtype) == (np.int32, np.float32)
    return {names[id]: row.tolist() for id, row in zip(found.ids, found.vectors, strict=True)}


def as_float32(vectors: dict[str, list[float]]) -> dict[str, list[float]]:
    return {word: np.float32(vector).tolist() for word, vector in vectors.items()}


class TestForms:
    @pytest.mark.parametrize(
        "content",
        [
            "\n".join(LINES),
            "\n".join(["4 3", *LINES, ""]),
            "4 3 \n" + "".join(f"{line} \n" for line in LINES),  # word2vec and fastText end so.
            "\ufeff" + "\r\n".join(LINES),
            "\n".join(line.replace(" ", "\t") for line in LINES),
            "\n".join(line.replace(" ", "  ") for line in ["", *LINES, ""]),
        ],
        ids=["GloVe", "header", "blanks at the end", "Windows", "tabs", "two blanks"],
    )
    @pytest.mark.parametrize("name", ["v.txt", "v.vec", "v.txt.gz"])
    def test_each_has_the_same_vectors(self, tmp_path: Path, content: str, name: str) -> None:
        packed = gzip.compress(content.encode()) if name.endswith("gz") else content
        path = written(tmp_path / name, packed)
        digest = hashlib.sha256(content.encode()).hexdigest()
        assert read(path, sha256=digest) == as_float32(VECTORS)
        assert sha256_of(path) == digest

    def test_words_may_have_blanks_in_them(self, tmp_path: Path) -> None:
        """As ". . ." in GloVe's 840B, or the word that is a blank in some of word2vec's."""
        lines = [". . . 1 1 1", *LINES, "at name@domain.com 2 2 2", "  3 3 3", "\u00a0 4 4 4"]
        path = written(tmp_path / "v.txt", lines)
        assert read(path) == as_float32(VECTORS)
        assert read(written(tmp_path / "h.txt", [f"{len(lines)} 3", *lines])) == read(path)

    def test_words_may_be_numbers(self, tmp_path: Path) -> None:
        path = written(tmp_path / "v.txt", ["1 5 6", "2000 7 8", "film 1 2"])
        assert read(path, "1", "2000") == {"1": [5, 6], "2000": [7, 8]}

    def test_words_that_are_not_utf8_are_left_out_and_counted(self, tmp_path: Path) -> None:
        path = written(
            tmp_path / "v.txt", b"\xff\xfe 1 2\nfilm 3 4\ncaf\xe9 5 6\nna\xc3\xafve 7 8\n"
        )
        found = read_word_vectors(path, Vocabulary(["film", "naïve"]))
        assert found.vectors.tolist() == [[3, 4], [7, 8]]
        assert found.undecoded == 2

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        vectors=st.dictionaries(
            st.from_regex("[a-z]{1,4}", fullmatch=True),
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3),
            min_size=1,
        ),
        width=st.integers(1, 3),
        header=st.booleans(),
    )
    def test_what_was_written_is_read(
        self, vectors: dict[str, list[float]], width: int, header: bool, tmp_path: Path
    ) -> None:
        vectors = {word: vector[:width] for word, vector in vectors.items()}
        lines = [" ".join([word, *map(repr, vector)]) for word, vector in vectors.items()]
        head = [f"{len(lines)} {width}"] if header else []
        assert read(written(tmp_path / "v.txt", head + lines), *vectors) == vectors


class TestMatching:
    def test_the_same_spelling_wins_and_then_the_first(self, tmp_path: Path) -> None:
        lines = ["THE 1 1", "The 2 2", "the 3 3", "the 4 4", "Film 5 5", "FILM 6 6", "film. 7 7"]
        path = written(tmp_path / "v.txt", lines)
        assert read(path, "the", "film") == {"the": [3, 3], "film": [5, 5]}

    def test_words_are_normalized_by_the_rules_of_the_texts(self, tmp_path: Path) -> None:
        lines = ["don\u2019t 1 1", "ﬁlm 2 2", "new_york 3 3", "naïve 4 4"]
        path = written(tmp_path / "v.txt", lines)
        words = ("don't", "film", "new", "york", "naïve")
        assert read(path, *words) == {"don't": [1, 1], "film": [2, 2], "naïve": [4, 4]}
        assert read(path, *words, rules="keras") == {"naïve": [4, 4]}

    def test_special_ids_have_the_vectors_of_their_names(self, tmp_path: Path) -> None:
        path = written(tmp_path / "v.txt", ["unk 1 1", "<unk> 2 2", "<pad> 3 3", "film 4 4"])
        assert read(path, "film") == {"<pad>": [3, 3], "<unk>": [2, 2], "film": [4, 4]}
        assert read(path, "unk")["unk"] == [1, 1]

    def test_coverage_is_of_words_and_of_running_words(self, tmp_path: Path) -> None:
        path = written(tmp_path / "v.txt", ["film 1 1", "dull 2 2", "<unk> 3 3"])
        vocabulary = Vocabulary(["film", "dull", "unseen", "so"])
        texts = ["film film dull unseen", "film nobody", ""]
        examples = Examples.build([vocabulary.encode(text.split()) for text in texts], np.zeros(3))
        assert UNKNOWN in examples.inputs
        assert read_word_vectors(path, vocabulary).coverage(vocabulary, examples) == (2, 4 / 6)


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (["a 1 2", "film 1", "b 3 4"], "line 2 has 1 instead of 2 numbers after its word"),
            (["a 1 2", "b 1 2 3", "film 3 4"], "line 2 has 3 instead of 2 numbers after its word"),
            (["2 2", "a 1 2", "b 1 2 3"], "line 3 has 3 instead of 2 numbers after its word"),
            (["a 1 2", "nobody", "film 3 4"], "line 2 has 0 instead of 2 numbers after its word"),
            (["a 1 2", "film 1 x"], "line 2 has x among its numbers: finite ones are needed"),
            (["a 1 2", "", "film nan 1"], "line 3 has nan among its numbers"),
            (["a 1 2", "film 1 -inf"], "line 2 has -inf among its numbers"),
            (["a 1 2", "film 1e39 1"], "line 2 has 1e39 among its numbers"),
            (["a 1 2", "film 1,5 1"], "line 2 has 1,5 among its numbers"),
            (["a 1 2", "film  1"], "line 2 has 1 instead of 2 numbers after its word"),
            (["3 2", "film 1 2", "b 3 4"], "has vectors of 2 words, and its line 1 says 3"),
            (["1 2", "film 1 2", "b 3 4"], "has vectors of 2 words, and its line 1 says 1"),
            (["9 300"], "has vectors of 0 words, and its line 1 says 9"),
            (["9 0", "film"], "line 1 has no numbers after its word: a word and its numbers"),
            (["some text", "of a film"], "line 1 has no numbers after its word"),
            (["nobody 1 2"], "has a vector of none of the 4 words of the texts"),
            ("", "is empty: a word and its numbers on each line are needed"),
            ("\n \n", "is empty"),
            (b"2 2\nfilm \0\0\x80?\0\0\0@", "is word2vec's binary form: the text form of GloVe"),
            (b"\0\1\2", "is binary, not text in UTF-8: the text form"),
            ("film 1 2".encode("utf-16"), "is binary, not text in UTF-8"),
            (b"\xba\x16\x4f\x2f\x0c", "is fastText's binary form: its text form, .vec, is"),
            (b"PK\x03\x04...", "is a zip archive: unpack it"),
            (gzip.compress(b"film 1 2", mtime=0), "is compressed: its name must end with .gz"),
            (b"film 1" + b" 1" * 2**20, "line 1 has more than 2,097,152 bytes"),
        ],
    )
    def test_what_is_no_file_of_vectors(self, tmp_path: Path, content: Any, message: str) -> None:
        path = written(tmp_path / "v.txt", content)
        with pytest.raises(InputError) as error:
            read(path)
        assert str(error.value).startswith(f"`embeddings` {path}")
        assert message in str(error.value)

    def test_a_download_that_was_cut_short(self, tmp_path: Path) -> None:
        packed = gzip.compress("\n".join(LINES).encode())
        path = written(tmp_path / "v.txt.gz", packed[:-12])
        with pytest.raises(InputError, match=r"v\.txt\.gz is damaged or incomplete"):
            read(path)

    def test_another_file_than_is_asked_for(self, tmp_path: Path) -> None:
        path = written(tmp_path / "v.txt", LINES)
        message = f"v.txt is another file than `embeddings_digest` says: .*{'0' * 64} is needed"
        with pytest.raises(InputError, match=message):
            read(path, sha256="0" * 64)

    @pytest.mark.parametrize("path", ["{}", "{}/nothing.txt", "", "http://example.com/v.txt"])
    def test_what_is_no_file(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(InputError, match=r"is a directory|cannot be read|is empty|an address"):
            read(path.format(tmp_path))  # type: ignore[arg-type]


def test_it_is_said_how_far_it_is(tmp_path: Path) -> None:
    lines = [f"w{i} 1" for i in range(70_000)]
    said: list[tuple[str, int, int | None]] = []
    read(written(tmp_path / "v.txt", ["70000 1", *lines]), "w5", on_read=lambda *p: said.append(p))
    assert said == [("reading word vectors", done, 70_000) for done in (2**15, 2**16)]
