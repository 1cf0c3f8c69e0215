"""What is served of a run is what it predicts."""

from pathlib import Path

import jax
import pytest
from small_runs import experiment, quiet_train
from untrained import calibrated

from flax_imdb.errors import InputError
from flax_imdb.predict import TrainedModel, load
from flax_imdb.serve import Served

TEXTS = ["a good film", "a bad film, \U0001f600 good?", "good " * 20, "x"]


@pytest.fixture(scope="module")
def model(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    workdir = tmp_path_factory.mktemp("served") / "run"
    quiet_train(experiment(reviews, epochs=1, max_length=10), workdir)
    return load(workdir)


def test_nothing_is_compiled_once_it_is_prepared(
    model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(model)
    for _ in served.prepare():
        pass
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **more: compiled.append(name)
    )
    try:
        for texts in (TEXTS[:1], TEXTS, TEXTS * 9, [" ".join(TEXTS)]):
            served.predict(texts)
        for text in TEXTS:
            served.explain(text)
        assert not [name for name in compiled if "compile" in name]
        jax.jit(lambda x: x + 1)(1.0)
        assert [name for name in compiled if "compile" in name]
    finally:
        jax.monitoring.clear_event_listeners()


def test_a_text_has_the_probabilities_of_predict(model: TrainedModel) -> None:
    """To the bit in a batch of the same shape, and up to rounding in others."""
    served = Served(model)
    alone = [model.predict([text])[0] for text in TEXTS]
    for text, prediction in zip(TEXTS, alone, strict=True):
        assert served.predict([text]) == [
            {"label": prediction.label, "probabilities": prediction.probabilities}
        ]
    for answer, prediction in zip(served.predict(TEXTS * 3), alone * 3, strict=True):
        assert answer["probabilities"] == pytest.approx(prediction.probabilities, rel=0, abs=1e-5)


def test_a_text_has_the_weights_of_explain(model: TrainedModel) -> None:
    served = Served(model)
    for text, explanation in zip(TEXTS, model.explain(TEXTS), strict=True):
        answer = served.explain(text)
        assert answer["label"] == explanation.label
        assert answer["probabilities"] == explanation.probabilities
        assert answer["differences"] == explanation.differences
        assert [word["weights"] for word in answer["words"]] == [
            w.weights for w in explanation.words
        ]
        assert [text[word["start"] : word["end"]].lower() for word in answer["words"]] == [
            word["word"] for word in answer["words"]
        ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("...", "no words in '...'"), ("\ud800", "not UTF-8"), (3, "3 is not a text")],
)
def test_what_is_no_text_has_an_error(model: TrainedModel, text: object, reason: str) -> None:
    served = Served(model)
    assert served.explain(text) == {"error": reason}
    assert served.predict([text]) == [{"error": reason}]


def test_it_says_nothing_of_where_files_are(model: TrainedModel) -> None:
    assert "/" not in Served(model).about.name


def test_it_abstains_as_predict_does(model: TrainedModel) -> None:
    served = Served(calibrated(model))
    assert (served.about.coverages, Served(model).about.coverages) == ((0.8, 0.9, 0.95, 0.99), ())
    least = served.least_probability(0.9)
    for text, expected in zip(TEXTS, calibrated(model).predict(TEXTS, abstain=0.9), strict=True):
        (abstaining,) = served.predict([text], [least])
        assert abstaining["label"] == expected.label
        assert tuple(abstaining["prediction_set"]) == expected.prediction_set
    assert "prediction_set" not in served.predict(TEXTS[:1], [None])[0]
    with pytest.raises(InputError, match="was trained without"):
        Served(model).least_probability(0.9)
