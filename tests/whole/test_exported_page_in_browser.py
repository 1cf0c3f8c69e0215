"""The page of `flax-imdb export --format html` in a real browser, opened as a file."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages_in_browser import CONTRASTS, FITS, answered, field, marks
from pieces import PIECES
from small_runs import experiment, quiet_train
from untrained import calibrated

import flax_imdb
from flax_imdb.export import export, html
from flax_imdb.predict import TrainedModel, unreadable
from flax_imdb.report.explanation import marked

pytestmark = pytest.mark.long

# Of each text what the page's own worker answers.
ASK = """
async (texts) => {
  const found = [];
  for (const [number, text] of texts.entries()) {
    const id = -1 - number;
    found.push(await new Promise((resolve) => {
      const heard = ({ data }) => {
        if (data.id !== id || !data.answer) return;
        worker.removeEventListener("message", heard);
        resolve(data.answer);
      };
      worker.addEventListener("message", heard);
      worker.postMessage({ id, text });
    }));
  }
  return found;
}
"""

RUNS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lstm": ({"arch": "lstm"}, {}),
    "bilstm by keras": ({"arch": "bilstm"}, {"text": "keras", "padding": "keras"}),
    "with n-grams": (
        {"arch": "conv_lstm", "pooling": "max_mean", "wide_ngrams": 3, "wide_buckets": 500},
        {"max_length": 8},
    ),
}


@pytest.fixture(scope="module", params=RUNS)
def exported(
    request: pytest.FixtureRequest, reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainedModel, str]:
    """A model, and the address of its page."""
    directory = tmp_path_factory.mktemp("exported")
    settings, data = RUNS[request.param]
    config = experiment(reviews, epochs=2, **data)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, **settings))
    quiet_train(config, directory / "run")
    model = flax_imdb.load(directory / "run")
    (path,) = export(model, "html", directory / "page.html")
    return model, path.as_uri()


@pytest.fixture
def opened(exported: tuple[TrainedModel, str], open_page: Callable[..., Any]) -> Any:
    """The page, which asks for nothing but itself."""
    _, address = exported
    page = open_page("about:blank", offline=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    assert [url for url in asked if not url.startswith("blob:")] == [address]


def texts_of(model: TrainedModel) -> list[str]:
    """200 texts that can be classified."""
    draw = random.Random(0)
    words = [*model.vocabulary.words, "“good”", "GOOD", "bad&hellip;", "<b>bad</b>", "très", "很好"]
    texts = []
    while len(texts) < 200:
        chosen = draw.choices([*words, *PIECES], k=draw.randrange(1, 25))
        text = draw.choice(["", " ", " ", " "]).join(chosen)
        if unreadable(text, model.vocabulary.rules) is None:
            texts.append(text)
    return texts


def test_it_answers_as_predict(exported: tuple[TrainedModel, str], opened: Any) -> None:
    model, _ = exported
    texts = texts_of(model)
    predicted = model.predict(texts)
    assert len({prediction.probability for prediction in predicted}) > 100
    for prediction, found in zip(predicted, opened.evaluate(ASK, texts), strict=True):
        assert dict(found["shown"]) == pytest.approx(prediction.probabilities, abs=1e-5)


def test_what_is_typed_is_answered(exported: tuple[TrainedModel, str], opened: Any) -> None:
    model, _ = exported
    text = "The film was good 👍🏽, <i>not</i> bad"
    field(opened).press_sequentially(text)
    (explanation,) = model.explain([text])
    answered(opened, explanation.label)
    share = explanation.probabilities[explanation.label]
    assert opened.locator("#share").inner_text() == f"{share:.1%}"
    assert opened.locator("#words").inner_text() == text
    assert marks(opened) == [
        (each.text, each.look) for each in marked(explanation, explanation.label) if each.look
    ]
    field(opened).fill("")
    opened.locator("#answer").wait_for(state="hidden")


def test_it_may_not_know(
    exported: tuple[TrainedModel, str], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    model = calibrated(exported[0])
    html.write(model, tmp_path / "page.html")
    page = open_page((tmp_path / "page.html").as_uri(), offline=True)
    assert opened_without_choice(exported[1], open_page)
    choice = page.get_by_label("It may say that it does not know")
    for coverage in ("0.8", "0.99", ""):
        choice.select_option(coverage)
        for text in ("good film", "Kino", "the film was a story of people"):
            field(page).fill(text)
            given = {"abstain": float(coverage)} if coverage else {}
            (expected,) = model.predict([text], **given)
            answered(page, expected.label or "does not know")
            page.wait_for_timeout(300)
            if expected.label is None:
                in_set = " or ".join(expected.prediction_set or ()) or "no class is likely enough"
                assert page.locator("#share").inner_text() == in_set
            assert page.locator("#words").is_visible() == (expected.label is not None)


def opened_without_choice(address: str, open_page: Callable[..., Any]) -> bool:
    return open_page(address, offline=True).locator("select").count() == 0


def test_one_can_type_on_while_marks_are_computed(opened: Any) -> None:
    opened.evaluate("worker.postMessage({ id: -1, text: 'good bad film '.repeat(60000) })")
    field(opened).fill("bad")
    answered(opened, "neg")
    field(opened).press_sequentially(" good good good")
    opened.locator("#words", has_text="bad good good good").wait_for()


def test_what_is_wrong_is_said(opened: Any) -> None:
    alert = opened.get_by_role("alert")
    field(opened).fill("...")
    alert.get_by_text("There are no words in this text.").wait_for()
    assert not opened.locator("#answer").is_visible()
    field(opened).fill("Kino")
    alert.get_by_text("The model knows none of these words").wait_for()
    opened.evaluate("document.getElementById('text').value = 'a'.repeat(1000001); classify()")
    alert.get_by_text("1,000,001 characters are too many: 1,000,000 at most").wait_for()
    opened.evaluate("worker.dispatchEvent(new ErrorEvent('error', { message: 'out of memory' }))")
    alert.get_by_text("The classifier does not run in this browser: out of memory").wait_for()


def test_markup_and_scripts_are_text(opened: Any) -> None:
    text = "<script>document.title = 'taken'</script><img src=x onerror=alert(1)> good &lt;b&gt;"
    title = opened.title()
    field(opened).fill(text)
    opened.locator("#answer:not([aria-busy])").wait_for()
    assert opened.locator("#words").inner_text() == text
    assert opened.locator("img").count() == 0
    assert opened.title() == title


def test_the_keyboard_is_enough(opened: Any) -> None:
    focused = "document.activeElement.id || document.activeElement.tagName"
    opened.keyboard.press("Tab")
    assert opened.evaluate(focused) == "text"
    opened.keyboard.type("bad film")
    opened.locator("#answer:not([aria-busy])").wait_for()
    opened.keyboard.press("Tab")
    assert opened.evaluate(focused) == "words"


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_can_be_read(
    exported: tuple[TrainedModel, str], open_page: Callable[..., Any], width: int, scheme: str
) -> None:
    _, address = exported
    viewport = {"width": width, "height": 740}
    page = open_page(address, viewport=viewport, color_scheme=scheme, offline=True)
    field(page).fill(f"good {'w' * 300} bad film")
    page.locator("#words mark").first.wait_for()
    page.locator("#answer:not([aria-busy])").wait_for()
    page.wait_for_timeout(300)  # Until nothing is pale any more.
    assert page.evaluate(FITS)
    assert page.evaluate(CONTRASTS) >= 4.5
