"""Files, compressed or not, and their encodings."""

import bz2
import codecs
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import permissions
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imdb_archive import one_line_error
from own_rows import pairs_in, rows_in, written

from flax_imdb.data.sources.text_files import codec_of, format_of
from flax_imdb.errors import InputError

PAIRS = [("a fine film, née", "pos"), ("dull", "neg"), ("so so", "neg")]
FORMS = {
    ".csv": 'text,label\n"a fine film, née",pos\ndull,neg\nso so,neg\n',
    ".tsv": "text\tlabel\na fine film, née\tpos\ndull\tneg\nso so\tneg\n",
    ".jsonl": '{"text": "a fine film, née", "label": "pos"}\n'
    '{"text": "dull", "label": "neg"}\n{"text": "so so", "label": "neg"}\n',
    ".txt": "__label__pos a fine film, née\n__label__neg dull\n__label__neg so so\n",
}


def zst(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zst,
}


class TestCompression:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("compression", COMPRESS)
    def test_makes_no_difference(self, form: str, compression: str, tmp_path: Path) -> None:
        content = COMPRESS[compression](FORMS[form].encode())
        assert pairs_in(written(tmp_path / f"a{form}{compression}", content)) == PAIRS
        assert pairs_in(written(tmp_path / f"a{form}", FORMS[form])) == PAIRS

    @pytest.mark.parametrize("compression", COMPRESS)
    def test_of_several_streams_is_read_to_the_end(self, compression: str, tmp_path: Path) -> None:
        """As `cat a.gz b.gz` and parallel compressors write them."""
        parts = [COMPRESS[compression](part.encode()) for part in ("text,label\na,", "b\nc,d\n")]
        path = written(tmp_path / f"a.csv{compression}", b"".join(parts))
        assert pairs_in(path) == [("a", "b"), ("c", "d")]

    @pytest.mark.parametrize("compression", COMPRESS)
    def test_that_is_cut_off_or_none_is_an_error(self, compression: str, tmp_path: Path) -> None:
        rows = "".join(f"{os.urandom(40).hex()},{i % 2}\n" for i in range(5_000))
        content = COMPRESS[compression](f"text,label\n{rows}".encode())
        cut = written(tmp_path / f"cut.csv{compression}", content[: len(content) // 2])
        with one_line_error(f"{cut} is damaged or incomplete"):
            rows_in(cut)
        none = written(tmp_path / f"none.csv{compression}", "text,label\na,b\n")
        with one_line_error(f"{none} is damaged or incomplete"):
            rows_in(none)

    def test_of_parquet_is_not_expected(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.parquet.gz", gzip.compress(b"PAR1"))
        with one_line_error("those of text may be compressed: .gz, .bz2, .xz, .zst"):
            rows_in(path)


class TestEncoding:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "UTF8", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32"]
    )
    def test_is_that_of_the_file(self, form: str, encoding: str, tmp_path: Path) -> None:
        path = written(tmp_path / f"a{form}", FORMS[form].encode(encoding))
        assert pairs_in(path, encoding=encoding) == PAIRS

    @pytest.mark.parametrize("form", FORMS)
    def test_mark_at_the_beginning_is_no_text(self, form: str, tmp_path: Path) -> None:
        path = written(tmp_path / f"a{form}", codecs.BOM_UTF8 + FORMS[form].encode())
        assert pairs_in(path) == PAIRS

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32-le"])
    def test_of_two_or_four_bytes_is_noticed(
        self, form: str, encoding: str, tmp_path: Path
    ) -> None:
        path = written(tmp_path / f"a{form}", FORMS[form].encode(encoding))
        with one_line_error(f"{path} .*`encoding` utf-16"):
            rows_in(path)

    def test_that_is_another_is_an_error_with_the_line(self, tmp_path: Path) -> None:
        lines = ["text,label", '"one\ntwo",a', "née,b", "three,a", "Zoë,b"]
        path = written(tmp_path / "a.csv", "\n".join(lines).encode("latin-1"))
        with one_line_error(
            r"2 of 4 rows \(line 4 is not utf-8; line 6 is not utf-8\) cannot be used; .*"
            "`skip_bad_rows`; `encoding` latin-1 or cp1252 may be right"
        ):
            rows_in(path)
        assert rows_in(path, skip_bad_rows=True).texts == ["one\ntwo", "three"]
        assert rows_in(path, encoding="latin-1").texts == ["one\ntwo", "née", "three", "Zoë"]
        with one_line_error("line 4 is not ascii.* `encoding` utf-8 may be right"):
            rows_in(path, encoding="ascii")

    def test_that_is_another_in_the_header_is_an_error(self, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", "text,label,caf\xe9\na,b,c\n".encode("latin-1"))
        with one_line_error("line 1 is not utf-8; `encoding` latin-1 or cp1252 may be right"):
            rows_in(path)

    def test_that_the_file_ends_in_the_middle_of_is_an_error(self, tmp_path: Path) -> None:
        content = FORMS[".csv"].encode("utf-16")
        with one_line_error("not utf-16"):
            rows_in(written(tmp_path / "a.csv", content[:-1]), encoding="utf-16")

    @pytest.mark.parametrize("encoding", ["utf-9", "rot13", "hex", "", "a\0b"])
    def test_that_does_not_exist_is_an_error(self, encoding: str, tmp_path: Path) -> None:
        path = written(tmp_path / "a.csv", FORMS[".csv"])
        with one_line_error("`encoding` .*is unknown: utf-8, utf-16, latin-1 and cp1252"):
            rows_in(path, encoding=encoding)

    def test_has_one_name(self) -> None:
        assert codec_of("UTF8") == codec_of("utf_8") == "utf-8"


class TestNoText:
    @pytest.mark.parametrize("form", FORMS)
    def test_null_bytes_are_an_error(self, form: str, tmp_path: Path) -> None:
        path = written(tmp_path / f"a{form}", b"\x7fELF\0\0\0\0" + bytes(1000))
        with one_line_error(f"{path} begins with null bytes, so it is not text"):
            rows_in(path)

    @pytest.mark.parametrize("before", [3, 100_000])
    def test_a_later_null_character_is_a_bad_row(self, before: int, tmp_path: Path) -> None:
        rows = "text,label\n" + "a,b\n" * before + "c\0,d\ne,f\0\n"
        with one_line_error(
            f"line {before + 2} has a null character in its text; "
            rf"line {before + 3} has a control character in its label, 'f\\x00'"
        ):
            rows_in(written(tmp_path / "a.csv", rows))


@pytest.mark.parametrize("form", [*FORMS, ".json", ".parquet", ".csv.gz", ".csv.zst", ".csv.xz"])
@given(
    content=st.one_of(
        st.binary(),
        st.text('ab,"\t\n\r{}[]:\\\0\ud800_é').map(lambda text: text.encode("utf-8", "replace")),
    ),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32-be", "cp1252", "gb18030", "utf-7"]),
    skip=st.booleans(),
)
def test_whatever_a_file_holds_it_is_read_or_an_error_of_one_line(
    scratch: Path, form: str, content: bytes, encoding: str, skip: bool
) -> None:
    head = b"text,label\n" if form == ".csv" else b"text\tlabel\n" if form == ".tsv" else b""
    path = written(scratch / f"a{form}", head + content)
    texts, message = [], ""
    try:
        texts = rows_in(path, encoding=encoding, skip_bad_rows=skip).texts
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    message.encode()  # It can be printed.
    assert bool(message) != bool(texts)


class TestFile:
    def test_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with one_line_error(f"`dataset` {tmp_path}/a.csv is no file or folder"):
            rows_in(tmp_path / "a.csv")

    @pytest.mark.parametrize("name", ["", "https://example.org/a.csv", "a\0.csv"])
    def test_that_can_be_none_is_an_error(self, name: str) -> None:
        with one_line_error("`dataset` "):
            rows_in(name)

    @pytest.mark.parametrize("form", [*FORMS, ".parquet"])
    def test_that_may_not_be_read_is_an_error(self, form: str, tmp_path: Path) -> None:
        path = written(tmp_path / f"a{form}", FORMS.get(form, ""))
        with permissions.denied(path), one_line_error(f"{path} cannot be read: Permission denied"):
            rows_in(path)

    @pytest.mark.parametrize("form", [*FORMS, ".parquet"])
    def test_that_is_a_pipe_is_not_waited_for(self, form: str, tmp_path: Path) -> None:
        path = tmp_path / f"a{form}"
        os.mkfifo(path)
        with one_line_error(f"{path} is a pipe or a device, not a file"):
            rows_in(path)

    def test_that_is_a_directory_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").mkdir()
        with one_line_error("a.csv has no texts: LABEL/.* is needed"):
            rows_in(tmp_path / "a.csv")

    def test_that_is_a_link_to_itself_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").symlink_to("a.csv")
        with one_line_error("a.csv cannot be read: Too many levels of symbolic links"):
            rows_in(tmp_path / "a.csv")

    @pytest.mark.parametrize("name", ["a.xlsx", "a", "a.gz", "a.csv.zip", "csv"])
    def test_of_an_unknown_kind_is_an_error(self, name: str, tmp_path: Path) -> None:
        path = written(tmp_path / name, "text,label\n")
        with one_line_error(f"{path} does not end in one of .csv, .tsv, .json, .jsonl, .ndjson"):
            rows_in(path)

    def test_may_have_capital_letters_in_its_ending(self, tmp_path: Path) -> None:
        assert pairs_in(written(tmp_path / "A.CSV", FORMS[".csv"])) == PAIRS
        assert format_of(Path("A.JSON.GZ")) == (".json", ".gz")

    @pytest.mark.parametrize("form", [*FORMS, ".json"])
    @pytest.mark.parametrize("content", ["", "\n", "\r\n\n"])
    def test_that_is_empty_is_an_error(self, form: str, content: str, tmp_path: Path) -> None:
        path = written(tmp_path / f"a{form}", content)
        with one_line_error(f"{path} (is empty|has no line in fastText's form)"):
            rows_in(path)

    def test_is_closed(self, tmp_path: Path) -> None:
        """On Windows an open file cannot be moved."""
        descriptors = set(os.listdir("/proc/self/fd"))
        for form in FORMS:
            for compression, compress in COMPRESS.items():
                content = compress(FORMS[form].encode())
                rows_in(written(tmp_path / f"a{form}{compression}", content))
        assert set(os.listdir("/proc/self/fd")) == descriptors
