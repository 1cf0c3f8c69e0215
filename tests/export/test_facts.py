"""What an exported file says of itself."""

import dataclasses
import datetime
import json

import pytest
from untrained import MAX_LENGTH, WORDS, calibrated, untrained

from flax_imdb.data import Vocabulary
from flax_imdb.export import facts
from flax_imdb.predict import TrainedModel


def with_vocabulary(model: TrainedModel, vocabulary: Vocabulary) -> TrainedModel:
    info = dataclasses.replace(model.info, inputs=vocabulary)
    return dataclasses.replace(model, info=info)


def test_they_are_all_that_a_program_needs_to_make_its_inputs() -> None:
    model = untrained("conv_lstm", classes=3)
    said = facts(model)
    assert said["classes"] == list(model.info.classes)
    words = said["words"]
    assert words[said["pad"]] == "<pad>"
    assert words[3:] == WORDS
    ids = [said["start"], *(words.index(word) for word in ("a", "good", "film"))]
    assert [*model.vocabulary.encode(["a", "good", "film"])] == ids
    assert [*model.vocabulary.encode(["none"])] == [said["start"], said["unknown"]]
    assert said["conformity"] == []
    assert facts(calibrated(model))["conformity"] == list(calibrated(model).info.conformity)
    assert (said["arch"], said["text"]) == ("conv_lstm", "unicode")
    assert (said["max_length"], said["min_time"]) == (MAX_LENGTH, 1)
    assert datetime.date.fromisoformat(said["created"])
    assert json.loads(json.dumps(said, allow_nan=False)) == said


@pytest.mark.parametrize(
    ("long", "kept"),
    [("tail", MAX_LENGTH), ("head", MAX_LENGTH), ("windows", MAX_LENGTH + 7 * 7)],
)
def test_they_say_what_is_kept_of_a_long_text(long: str, kept: int) -> None:
    said = facts(untrained(long=long))
    assert (said["long"], said["max_length"]) == (long, kept)


@pytest.mark.parametrize(
    ("padding", "rule"),
    [
        ("masked", "the number of ids of each row; behind them it is padded"),
        ("keras", "13 for each row; before its ids it is padded to so many"),
    ],
)
def test_they_have_the_rule_for_lengths(padding: str, rule: str) -> None:
    said = facts(untrained(padding=padding))
    assert (said["padding"], said["lengths"]) == (padding, rule)


def test_a_vocabulary_is_known_by_its_words_and_rules() -> None:
    model = untrained()
    other_words = with_vocabulary(model, Vocabulary(WORDS[::-1], "unicode"))
    other_rules = with_vocabulary(model, Vocabulary(WORDS, "keras"))
    known = [facts(each)["vocabulary"] for each in (model, other_words, other_rules)]
    assert len({*known}) == 3
    assert facts(untrained("bilstm", 3))["vocabulary"] == known[0]
    assert all(len(digest) == 64 for digest in known)
