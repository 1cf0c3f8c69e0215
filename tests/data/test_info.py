"""What a run keeps of its dataset."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flax_imdb.data import DatasetInfo, Standardizer, Vocabulary
from flax_imdb.data.tokenizer import SPECIAL_TOKENS
from flax_imdb.errors import InputError

GOOD = {
    "dataset": "mine.csv",
    "fingerprint": "abc",
    "text": "unicode",
    "classes": ["no", "yes"],
    "words": [*SPECIAL_TOKENS, "a", "b"],
}


def write(directory: Path, content: str) -> Path:
    path = directory / "vocabulary.json"
    path.write_text(content)
    return path


@given(
    words=st.lists(st.text(min_size=1), unique=True),
    classes=st.lists(st.text(), unique=True, min_size=2),
)
def test_what_is_saved_is_loaded_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], classes: list[str]
) -> None:
    words = [word for word in words if word not in SPECIAL_TOKENS]
    info = DatasetInfo("mine.csv", "abc", tuple(classes), Vocabulary(words, "unicode"))
    loaded = DatasetInfo.load(write(tmp_path_factory.mktemp("saved"), info.dump()))
    assert (loaded.name, loaded.fingerprint, loaded.classes) == ("mine.csv", "abc", info.classes)
    assert loaded.vocabulary.words == info.vocabulary.words
    assert loaded.vocabulary.rules == "unicode"


def test_several_labels_of_a_text_may_be_of_one_class(tmp_path: Path) -> None:
    info = DatasetInfo("mine.csv", "abc", ("spam",), Vocabulary(["a"], "unicode"), True)
    loaded = DatasetInfo.load(write(tmp_path, info.dump()))
    assert (loaded.classes, loaded.multi_label) == (("spam",), True)
    assert loaded.task.num_logits == 1
    assert not DatasetInfo.load(write(tmp_path, json.dumps(GOOD))).multi_label


def test_a_vocabulary_of_0_1_0_has_the_rules_of_keras_and_two_classes(tmp_path: Path) -> None:
    old = {name: GOOD[name] for name in ("dataset", "fingerprint", "words")}
    info = DatasetInfo.load(write(tmp_path, json.dumps(old)))
    assert info.vocabulary.rules == "keras"
    assert info.classes == ("negative", "positive")


@pytest.mark.parametrize(
    "change",
    [
        {"words": ["a", "b"]},
        {"words": 3},
        {"words": [*SPECIAL_TOKENS, 3]},
        {"words": [*SPECIAL_TOKENS, "a", "a"]},
        {"fingerprint": None},
        {"text": "runes"},
        {"classes": ["one"]},
        {"classes": [], "multi_label": True},
        {"multi_label": 1},
        {"classes": ["one", "one"]},
        {"classes": ["one", 2]},
        {"classes": 2},
    ],
)
def test_a_file_with_a_wrong_value_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"vocabulary\.json is not a vocabulary: "):
        DatasetInfo.load(write(tmp_path, json.dumps(GOOD | change)))


@pytest.mark.parametrize("content", ["", "[]", "{}", "nan", '{"words": ["<pad>"]}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match=r"vocabulary\.json is not a vocabulary: "):
        DatasetInfo.load(write(tmp_path, content))


def test_other_texts_are_told_apart() -> None:
    info, other = (DatasetInfo("a", mark, ("0", "1"), Vocabulary([])) for mark in ("x", "y"))
    info.check_same(info, "here.csv")
    with pytest.raises(
        InputError, match=r"here\.csv holds other texts than the run was trained on"
    ):
        info.check_same(other, "here.csv")


NUMERIC = {
    "dataset": "trips.npz",
    "fingerprint": "abc",
    "classes": ["no", "yes"],
    "mean": [1.5, -2.0],
    "scale": [0.1, 1.0],
    "features": ["a", "b"],
}


@given(
    features=st.lists(
        st.tuples(st.floats(-1e38, 1e38), st.floats(1e-30, 1e38)), min_size=1, max_size=4
    )
)
def test_statistics_are_loaded_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, features: list[tuple[float, float]]
) -> None:
    info = DatasetInfo("x.npz", "abc", ("0", "1"), Standardizer(*zip(*features, strict=True)))
    assert DatasetInfo.load(write(tmp_path_factory.mktemp("saved"), info.dump())) == info


def test_numeric_sequences_have_no_vocabulary_and_texts_no_statistics() -> None:
    info = DatasetInfo.parse(json.dumps(NUMERIC))
    assert (info.task.features, info.units, info.standardizer.names) == (2, "sequences", ("a", "b"))
    with pytest.raises(InputError, match="reads numeric sequences: it has no vocabulary"):
        _ = info.vocabulary
    with pytest.raises(InputError, match="reads numeric sequences, and explain is for texts"):
        info.check_texts("explain")
    of_texts = DatasetInfo.parse(json.dumps(GOOD))
    of_texts.check_texts("explain")
    assert (of_texts.task.features, of_texts.units) == (None, "texts")
    with pytest.raises(InputError, match="this model reads texts, not numeric sequences"):
        _ = of_texts.standardizer


@pytest.mark.parametrize(
    "change",
    [
        {"mean": []},
        {"mean": [1.5]},
        {"mean": [1.5, "a"]},
        {"mean": 3},
        {"scale": [0.1, 0.0]},
        {"scale": [0.1, -1.0]},
        {"features": ["a"]},
        {"features": [1, 2]},
    ],
)
def test_wrong_statistics_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"vocabulary\.json is not a vocabulary: "):
        DatasetInfo.load(write(tmp_path, json.dumps(NUMERIC | change)))


def test_conformity_is_loaded_as_it_was_and_is_not_there_without_any(tmp_path: Path) -> None:
    info = DatasetInfo("mine.csv", "abc", ("no", "yes"), Vocabulary([]), conformity=(0.1, 0.1, 1.0))
    assert DatasetInfo.load(write(tmp_path, info.dump())).conformity == (0.1, 0.1, 1.0)
    assert DatasetInfo.load(write(tmp_path, json.dumps(GOOD))).conformity == ()
    assert "conformity" not in DatasetInfo.load(write(tmp_path, json.dumps(GOOD))).dump()


@pytest.mark.parametrize(
    "change",
    [
        {"conformity": [0.2, 0.1]},
        {"conformity": [0.2, 1.1]},
        {"conformity": ["0.2"]},
        {"conformity": 3},
        {"conformity": [0.2], "multi_label": True, "thresholds": []},
    ],
)
def test_wrong_conformity_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="is not a vocabulary"):
        DatasetInfo.load(write(tmp_path, json.dumps(GOOD | change)))
