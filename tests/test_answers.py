"""What is shown of predictions."""

import json
from typing import Any

import pytest
from known_model import KnownModel

from flax_imdb.answers import Answer, Answers, Choice
from flax_imdb.data.sources import Bad
from flax_imdb.errors import InputError

MANY = tuple(f"c{number}" for number in range(21))


def answers(
    *texts: str,
    classes: tuple[str, ...] = ("bad", "good"),
    thresholds: tuple[float, ...] = (),
    conformity: tuple[float, ...] = (),
    **choice: Any,
) -> list[Answer]:
    model: Any = KnownModel(*classes, thresholds=thresholds, conformity=conformity)
    ask: Any = Answers(model, Choice(**choice))
    names = [f"text {number}" for number in range(1, len(texts) + 1)]
    found: list[Answer] = ask(texts, names)
    ask.warn()
    return found


class TestLine:
    def test_of_two_classes_the_probability_is_that_of_the_second(self) -> None:
        lines = [answer.as_line(False) for answer in answers("bad", "good")]
        assert lines == ["0.2500\tbad", "0.7500\tgood"]

    def test_of_more_it_is_that_of_the_likeliest(self) -> None:
        (answer,) = answers("c7", classes=MANY)
        assert answer.as_line(False) == "0.7500\tc7"

    def test_probabilities_follow_in_the_order_of_the_classes(self) -> None:
        (answer,) = answers("good")
        assert answer.as_line(True) == "0.7500\tgood\tbad=0.2500\tgood=0.7500"

    def test_a_text_without_words_is_unreadable(self) -> None:
        (answer,) = answers("...")
        assert answer.as_line(True) == "nan\tunreadable"


class TestJson:
    def test_it_has_the_label_and_the_probabilities(self) -> None:
        (answer,) = answers("good")
        assert json.loads(answer.as_json()) == {
            "label": "good",
            "probabilities": {"bad": 0.25, "good": 0.75},
        }

    def test_a_text_that_is_not_classified_has_an_error_alone(self) -> None:
        texts = "...", Bad("has no text"), "caf\udce9"
        assert [json.loads(answer.as_json()) for answer in answers(*texts)] == [
            {"error": "no words in '...'"},
            {"error": "has no text"},
            {"error": "not UTF-8"},
        ]

    def test_it_is_one_line_of_ascii(self) -> None:
        (answer,) = answers("a", classes=("line\u2028end", "\U0001f600"))
        assert answer.as_json().isascii()
        assert json.loads(answer.as_json())["label"] == "line\u2028end"


class TestTopK:
    def test_the_likeliest_come_first_and_equal_ones_in_their_order(self) -> None:
        (answer,) = answers("c7", classes=MANY, top_k=3)
        assert list(answer.probabilities) == ["c7", "c0", "c1"]

    def test_there_are_five_of_more_than_twenty_classes(self) -> None:
        for classes, shown in ((MANY, 5), (MANY[:20], 20)):
            (answer,) = answers("c7", classes=classes)
            assert len(answer.probabilities) == shown

    def test_there_are_no_more_than_classes(self) -> None:
        (answer,) = answers("good", top_k=9)
        assert list(answer.probabilities) == ["good", "bad"]

    def test_there_is_one_at_least(self) -> None:
        with pytest.raises(InputError, match="`top_k` 0 is too small: 1 or more"):
            Choice(top_k=0)


class TestSeveralLabels:
    HALVES = (0.5, 0.5, 0.8)

    def test_are_those_above_their_thresholds(self) -> None:
        found = answers("a b", "c", "...", classes=("a", "b", "c"), thresholds=self.HALVES)
        assert [answer.labels for answer in found] == [("a", "b"), (), None]
        assert [answer.as_line(False) for answer in found] == ["a|b", "-", "nan\tunreadable"]
        assert found[1].as_line(True) == "-\ta=0.2500\tb=0.2500\tc=0.7500"
        assert json.loads(found[0].as_json()) == {
            "labels": ["a", "b"],
            "probabilities": {"a": 0.75, "b": 0.75, "c": 0.25},
        }
        assert json.loads(found[1].as_json())["labels"] == []

    def test_are_all_named_however_few_probabilities_are_shown(self) -> None:
        (answer,) = answers("a b", classes=("a", "b", "c"), thresholds=self.HALVES, top_k=1)
        assert (answer.labels, dict(answer.probabilities)) == (("a", "b"), {"a": 0.75})

    def test_of_many_all_probabilities_are_shown(self) -> None:
        (answer,) = answers("c7", classes=MANY, thresholds=(0.5,) * len(MANY))
        assert len(answer.probabilities) == len(MANY)

    def test_have_thresholds_instead_of_a_least_probability(self) -> None:
        with pytest.raises(
            InputError, match=r"`min_probability` 0\.9 has no effect on a model of s"
        ):
            answers("a", classes=("a", "b", "c"), thresholds=self.HALVES, min_probability=0.9)


class TestMinProbability:
    @pytest.mark.parametrize(("least", "label"), [(0.75, "good"), (0.76, None), (1, None)])
    def test_below_it_there_is_no_label(
        self, least: float, label: str | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        readable, _ = answers("good", "...", min_probability=least)
        assert readable.label == label
        assert json.loads(readable.as_json())["label"] == label
        assert readable.as_line(False) == f"0.7500\t{label or 'unsure'}"
        warning = (
            f"warning: no class has a probability of {least:g} in 1 of 1 texts: they have no label"
        )
        assert capsys.readouterr().err.splitlines() == ([] if label else [warning])

    def test_a_class_called_unsure_would_not_be_told_from_it(self) -> None:
        with pytest.raises(InputError, match="a class of this model has that name"):
            answers("unsure", classes=("sure", "unsure"), min_probability=0.5)
        assert answers("unsure", classes=("sure", "unsure"))[0].label == "unsure"

    @pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
    def test_it_is_a_probability(self, least: float) -> None:
        with pytest.raises(InputError, match=r"`min_probability` .* a number from 0 to 1"):
            Choice(min_probability=least)


class TestAbstain:
    ROWS = tuple(number / 20 for number in range(1, 20))  # At a coverage of p it takes 1 - p.

    @pytest.mark.parametrize(
        ("coverage", "label", "in_set"),
        [(0.8, None, ["bad", "good"]), (0.7, "good", ["good"]), (0.2, None, [])],
    )
    def test_a_set_of_one_class_has_a_label_and_others_have_none(
        self, coverage: float, label: str | None, in_set: list[str]
    ) -> None:
        readable, wordless = answers("good", "...", conformity=self.ROWS, abstain=coverage)
        assert json.loads(readable.as_json()) == {
            "label": label,
            "prediction_set": in_set,
            "probabilities": {"bad": 0.25, "good": 0.75},
        }
        line = f"0.7500\t{label or 'unsure'}\t{'|'.join(in_set) or '-'}"
        assert readable.as_line(False) == line
        assert readable.as_line(True) == f"{line}\tbad=0.2500\tgood=0.7500"
        assert json.loads(wordless.as_json()) == {"error": "no words in '...'"}

    def test_a_text_of_unknown_words_has_all_classes(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        known, unknown = answers("good", "odd words", conformity=self.ROWS, abstain=0.7)
        assert (known.label, unknown.label) == ("good", None)
        assert unknown.prediction_set == ("bad", "good")
        assert capsys.readouterr().err.splitlines()[-1] == (
            "warning: 1 of 2 texts have no label: at a coverage of 0.7 their prediction sets have "
            "several classes, or none"
        )

    def test_the_set_is_whole_however_few_probabilities_are_shown(self) -> None:
        (answer,) = answers("odd", classes=MANY, conformity=self.ROWS, abstain=0.9, top_k=2)
        assert answer.prediction_set == MANY
        assert len(answer.probabilities) == 2

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"abstain": 1}, r"`abstain` 1 makes no sense: a number between 0 and 1"),
            ({"abstain": 0.96, "conformity": ROWS}, r"needs 24 rows to calibrate with, and there"),
            ({"abstain": 0.9}, r"`abstain` 0\.9 needs rows .* `calibration_examples` 1000 in"),
            ({"abstain": 0.9, "min_probability": 0.5}, r"both say which texts have no label"),
            ({"abstain": 0.9, "thresholds": (0.5, 0.5)}, r"is for models of one label"),
            (
                {"abstain": 0.9, "conformity": ROWS, "classes": ("sure", "unsure")},
                r"`abstain` 0\.9 shows unsure .* a class of this model has that name",
            ),
        ],
    )
    def test_what_cannot_be_is_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            answers("good", **options)


def test_texts_without_a_known_word_are_counted_over_all_calls(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask = Answers(KnownModel("bad", "good"), Choice())  # type: ignore[arg-type]
    for first in (1, 4):
        ask(["odd", "good", "..."], [f"text {first + n}" for n in range(3)])
    assert not capsys.readouterr().err
    ask.warn()
    assert capsys.readouterr().err == (
        "warning: no word is known to the model in 2 of 4 texts (1, 4): their predictions mean "
        "nothing\n"
    )
    assert ask.problems.first == ["text 3: no words in '...'", "text 6: no words in '...'"]
