"""What is found in a dataset, and the order in which it is listed."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from checked_rows import TELLING, checked, rows_of, write

from flax_imdb.check import KINDS, MISSING, Checked
from flax_imdb.check.findings import COLUMNS, code_of
from flax_imdb.check.wrong_labels import find_wrong_labels
from flax_imdb.errors import InputError

OTHER = {"neg": "pos", "pos": "neg"}


def listed(found: Checked) -> list[dict[str, str]]:
    """The rows of the CSV file."""
    file = io.BytesIO()
    found.write(file)
    return [*csv.DictReader(io.StringIO(file.getvalue().decode(), newline=""))]


def of_kind(found: Checked, kind: str) -> list[dict[str, str]]:
    return [row for row in listed(found) if row["finding"] == kind]


class TestLabels:
    WRONG = (7, 50, 123, 200)

    @pytest.fixture(scope="class")
    def found(self, tmp_path_factory: pytest.TempPathFactory) -> Checked:
        rows = rows_of(300)
        for row in self.WRONG:
            text, label = rows[row]
            rows[row] = (text, OTHER[label])
        return checked(write(tmp_path_factory.mktemp("rows") / "rows.csv", rows))

    def test_wrong_ones_come_first_with_the_right_one(self, found: Checked) -> None:
        rows = of_kind(found, "label")
        right = rows_of(300)
        assert {int(row["line"]) for row in rows[:4]} == {row + 2 for row in self.WRONG}
        for row in rows[:4]:
            assert row["proposed"] == right[int(row["line"]) - 2][1]
            assert row["label"] == OTHER[row["proposed"]]
        assert rows[0]["why"].startswith("probably wrong")

    def test_the_most_doubtful_come_first(self, found: Checked) -> None:
        rows = of_kind(found, "label")
        probable = [row["why"].startswith("probably") for row in rows]
        assert probable == sorted(probable, reverse=True)
        for sure in (True, False):
            scores = [float(r["score"]) for r, p in zip(rows, probable, strict=True) if p == sure]
            assert scores == sorted(scores, reverse=True)
            assert all(0 < score <= 1 for score in scores)

    def test_the_estimate_is_near(self, found: Checked) -> None:
        assert found.labels.wrong is not None
        assert 2 <= found.labels.wrong.estimated <= 10

    def test_a_file_without_faults_has_few(self, tmp_path: Path) -> None:
        found = checked(write(tmp_path / "rows.csv", rows_of(300)))
        assert found.counts == dict.fromkeys(KINDS, 0)

    def test_a_class_with_few_rows_is_left_out_and_named(self, tmp_path: Path) -> None:
        rows = [*rows_of(100), ("a rare kind of text", "rare"), ("another rare one", "rare")]
        found = checked(write(tmp_path / "rows.csv", rows))
        assert found.labels.few == ("rare",)
        assert len(found.labels.chosen) == 100
        assert all(row["label"] != "rare" for row in listed(found))
        assert found.labels.wrong is not None
        assert set(np.unique(found.labels.wrong.proposed)) <= {0, 1}

    def test_with_few_rows_nothing_is_said_of_labels(self, tmp_path: Path) -> None:
        found = checked(write(tmp_path / "rows.csv", rows_of(12)))
        assert found.labels.wrong is found.labels.curve is None
        assert any("labels were not looked at" in note for note in found.notes)

    def test_with_too_many_classes_it_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flax_imdb.check._MOST_PROBABILITIES", 199)
        found = checked(write(tmp_path / "rows.csv", rows_of(100)))
        assert found.labels.wrong is None
        assert found.notes == (
            "labels were not looked at: 100 texts times 2 classes are more than 199",
        )

    def test_copies_of_a_text_count_once(self, tmp_path: Path) -> None:
        """Otherwise a class would not be known where its only text is held out."""
        rows = [*rows_of(100), *[("always the same answer", "short")] * 20]
        found = checked(write(tmp_path / "rows.csv", rows))
        assert found.labels.few == ("short",)
        assert found.counts["label"] == 0

    @pytest.mark.parametrize("share", [0.5, 0.95])
    def test_labels_that_the_words_do_not_tell_are_not_accused(
        self, tmp_path: Path, share: float
    ) -> None:
        labels = np.where(np.random.default_rng(0).random(400) < share, "a", "b").tolist()
        texts = [text for text, _ in rows_of(400)]
        found = checked(write(tmp_path / "rows.csv", zip(texts, labels, strict=True)))
        assert found.counts["label"] == 0
        assert found.labels.curve is not None
        (note,) = found.notes
        assert note.startswith("labels were not looked at: the words do not tell them, right in ")

    def test_without_words_nothing_is_said_of_labels(self, tmp_path: Path) -> None:
        rows = [("!" * n, "ab"[n % 2]) for n in range(1, 41)]
        found = checked(write(tmp_path / "rows.csv", rows))
        assert found.notes == ("labels were not looked at: no word is in two texts",)
        summary = found.summary()
        assert (summary["without_words"], summary["different_words"]) == (40, 0)

    def test_many_classes(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        rows = []
        for row in range(1500):
            name = row % 100
            words = [f"w{name}", f"v{name}", *(f"x{n}" for n in rng.integers(500, size=5))]
            rows.append((" ".join(rng.permutation(words)), f"class {name}"))
        wrong = range(0, 1500, 101)
        for row in wrong:
            rows[row] = (rows[row][0], f"class {(row + 7) % 100}")
        found = of_kind(checked(write(tmp_path / "rows.csv", rows)), "label")
        first = {int(row["line"]) - 2 for row in found[: len(wrong)]}
        assert len(first & {*wrong}) >= 0.9 * len(wrong)
        for row in found[: len(wrong)]:
            if int(row["line"]) - 2 in wrong:
                assert row["proposed"] == f"class {(int(row['line']) - 2) % 100}"

    def test_several_labels(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        rows, right = [], []
        for row in range(400):
            has = rng.random(2) < 0.5
            names = [name for name, yes in zip("ab", has, strict=True) if yes]
            words = [f"word{name}" for name in names]
            text = " ".join([*rng.choice(TELLING["neg"], 3), *words, f"number{row}"])
            right.append("|".join(names))
            rows.append((text, "|".join(names)))
        assert (right[10], right[20]) == ("a|b", "")
        rows[10], rows[20] = (rows[10][0], "a"), (rows[20][0], "b")
        path = write(tmp_path / "rows.csv", rows)
        found = of_kind(checked(path, multi_label=True, allow_no_labels=True), "label")
        assert {(row["line"], row["proposed"]) for row in found[:2]} == {("12", "a|b"), ("22", "")}


class TestCopies:
    def test_across_splits_and_within(self, tmp_path: Path) -> None:
        rows = rows_of(60)
        path = write(tmp_path / "a.csv", [*rows, rows[4]])
        other = write(tmp_path / "b.csv", [*rows_of(60, seed=1), rows[7], rows[7]])
        found = checked(path, test_dataset=str(other))
        assert [(r["line"], r["file"], r["split"], r["why"]) for r in of_kind(found, "leak")] == [
            (line, str(other), "test", "the same words as line 9 of a.csv, in the train split")
            for line in ("62", "63")
        ]
        (row,) = of_kind(found, "duplicate")
        assert (row["line"], row["why"]) == ("62", "the same words as line 6 of a.csv")
        assert found.summary()["duplicates"] == 3

    def test_nearly_the_same(self, tmp_path: Path) -> None:
        rows = rows_of(60, words=60)
        text, label = rows[4]
        words = text.split()
        words[30] = "changed"
        rows.append((" ".join(words), label))
        found = checked(write(tmp_path / "a.csv", rows))
        (row,) = of_kind(found, "duplicate") or of_kind(found, "leak")
        assert row["line"] == "62"
        assert row["why"].startswith("91% like line 6")
        assert float(row["score"]) == pytest.approx(58 / 64, abs=1e-4)
        assert found.summary()["near_duplicates"] == 1

    def test_with_other_labels(self, tmp_path: Path) -> None:
        rows = rows_of(60)
        text, label = rows[4]
        other_text, other_label = rows[7]
        rows += [(text, label), (text, OTHER[label]), (other_text, OTHER[other_label])]
        found = {
            row["line"]: row
            for row in of_kind(checked(write(tmp_path / "a.csv", rows)), "conflict")
        }
        # Two against one; and of one against one no label is proposed.
        assert found.keys() == {"63", "9", "64"}
        assert found["63"]["proposed"] == label
        assert found["63"]["why"] == f"the same words as line 6, which has {label}"
        assert found["9"]["proposed"] == found["64"]["proposed"] == ""

    def test_near_ones_with_other_labels(self, tmp_path: Path) -> None:
        """How similar two texts are is said if it is known: of each to the first, and of copies."""
        rows = rows_of(60, words=60)
        words = rows[4][0].split()

        def near(*changed: int) -> str:
            return " ".join("changed" if n in changed else word for n, word in enumerate(words))

        rows[4] = (rows[4][0], "a")
        rows += [(near(10), "b"), (near(10), "c"), (near(30), "b"), (near(20, 40), "a")]
        rows += [(near(0, 50), "c")]
        found = of_kind(checked(write(tmp_path / "a.csv", rows)), "conflict")
        assert {row["line"]: row["why"] for row in found} == {
            "6": "91% like line 62, which has b",
            "62": "the same words as line 63, which has c",
            "63": "the same words as line 62, which has b",
            "64": "91% like line 6, which has a",
            "65": "82% like line 6, as is line 62, which has b",
            "66": "89% like line 6, which has a",
        }

    def test_the_same_runs_in_another_number_are_near(self, tmp_path: Path) -> None:
        rows = [*rows_of(60), ("no " * 6, "neg"), ("no " * 11, "neg")]
        found = checked(write(tmp_path / "a.csv", rows))
        copies = [*of_kind(found, "duplicate"), *of_kind(found, "leak")]
        assert [row["why"].partition(",")[0] for row in copies] == ["99% like line 62"]
        summary = found.summary()
        assert (summary["duplicates"], summary["near_duplicates"]) == (0, 1)


class TestOthers:
    def test_spelling(self, tmp_path: Path) -> None:
        rows = rows_of(60)
        rows[3], rows[8] = (rows[3][0], "Pos"), (rows[8][0], "n eg")
        found = of_kind(checked(write(tmp_path / "a.csv", rows)), "spelling")
        assert [(row["line"], row["label"], row["proposed"]) for row in found] == [
            ("5", "Pos", "pos"),
            ("10", "n eg", "neg"),
        ]

    def test_characters(self, tmp_path: Path) -> None:
        rows = [*rows_of(60), ("caf\ufffd", "neg")]
        (row,) = of_kind(checked(write(tmp_path / "a.csv", rows)), "characters")
        assert row["line"] == "62"
        assert row["why"] == "has U+FFFD REPLACEMENT CHARACTER"

    @pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1"])
    def test_a_text_is_no_formula(self, tmp_path: Path, text: str) -> None:
        rows = [*rows_of(60), (f"{text} \ufffd", "=neg"), ("1 = 1 \ufffd", "=neg")]
        row, other = of_kind(checked(write(tmp_path / "a.csv", rows)), "characters")
        assert row["text"] == f"'{text.strip()} \ufffd"
        assert row["label"] == "=neg"
        assert other["text"] == "1 = 1 \ufffd"

    def test_characters_have_names(self) -> None:
        assert code_of("\x96") == "U+0096"
        assert code_of("Ã©") == "'Ã©', which is UTF-8 read as another encoding"


class TestAll:
    @pytest.fixture(scope="class")
    def found(self, tmp_path_factory: pytest.TempPathFactory) -> Checked:
        rows = rows_of(200)
        rows[5] = (rows[5][0], OTHER[rows[5][1]])
        rows[9] = (f"{rows[9][0]} \ufffd", "Pos")
        rows += [rows[20], (rows[21][0], OTHER[rows[21][1]])]
        return checked(write(tmp_path_factory.mktemp("rows") / "rows.csv", rows))

    def test_the_kinds_have_an_order(self, found: Checked) -> None:
        kinds = [row["finding"] for row in listed(found)]
        assert kinds == sorted(kinds, key=[*KINDS].index)
        assert {"label", "conflict", "spelling", "characters"} <= {*kinds}

    def test_the_csv_has_what_is_promised(self, found: Checked) -> None:
        rows = listed(found)
        assert tuple(rows[0]) == COLUMNS
        assert COLUMNS[:4] == ("line", "label", "proposed", "why")
        assert "7" in {row["line"] for row in rows[:3]}
        assert {row["file"] for row in rows} == {found.texts.origins[0].place}

    def test_the_json_has_the_same_rows(self, found: Checked) -> None:
        content = json.loads(json.dumps(found.content(), allow_nan=False))
        rows = listed(found)
        assert [str(row["line"]) for row in content["rows"]] == [row["line"] for row in rows]
        assert content["findings"] == found.counts
        assert content["summary"]["rows"] == 202
        # Those of `rows_of`: 12 of FILLER, 6 that tell, and one of each text.
        assert content["summary"]["different_words"] == 12 + 6 + 200
        assert content["summary"]["classes"] == {"neg": 103, "pos": 99}
        assert content["learning_curve"]["verdict"] in ("yes", "hardly", "unclear")

    def test_it_is_the_same_again(self, found: Checked) -> None:
        again = checked(Path(found.texts.origins[0].place))
        assert listed(again) == listed(found)

    def test_the_joint_adds_up_to_the_rows(self, found: Checked) -> None:
        assert found.labels.wrong is not None
        assert found.labels.wrong.joint.sum() == pytest.approx(202)
        assert find_wrong_labels(np.array([0, 1]), np.eye(2)).estimated == 0

    def test_without_datasketch_it_is_said(
        self, found: Checked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "datasketch", None)
        again = checked(Path(found.texts.origins[0].place))
        assert MISSING in again.notes
        assert again.summary()["near_duplicates"] is None

    def test_numeric_sequences_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "walks.npz"
        np.savez(path, inputs=np.zeros((8, 5, 1)), labels=np.arange(8) % 2)
        with pytest.raises(InputError, match="holds numeric sequences: check is for texts"):
            checked(path)
