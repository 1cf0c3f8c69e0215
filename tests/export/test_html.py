"""The page in one file: its own JavaScript, run by V8, against this package."""

import base64
import dataclasses
import hashlib
import random
import re
import unicodedata
from collections.abc import Iterator
from html.entities import html5
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import PIECES
from untrained import MAX_LENGTH, SETTINGS, calibrated, question, untrained

from flax_imdb.data import Vocabulary, split_words
from flax_imdb.data.spans import word_spans
from flax_imdb.data.words import TextRules
from flax_imdb.errors import InputError
from flax_imdb.explain import TOLERANCE
from flax_imdb.export import export, html
from flax_imdb.export.check import answers_of
from flax_imdb.models import ARCHITECTURES
from flax_imdb.predict import TrainedModel

TEXTS = [
    "“It’s good”—just <b>GOOD</b>, a film&hellip; &amp;quot;bad&amp;quot;",
    "good\u00ad story 3½ ﬁlm",
    "Хорошая story, 很好看 film 👍🏽👩‍❤️‍👨 good",
    "a bad film " * 9,  # Longer than the model reads.
    "ΣΟΦΟΣ",
    "the\x85day\ufeff of\x1cpeople",
]

RULES: tuple[TextRules, ...] = ("keras", "unicode")

# Python and V8 know different versions of Unicode: characters of which neither knows anything new.
TYPED = st.text(st.characters(exclude_categories=["Cn", "Cs"])) | st.lists(
    st.sampled_from(
        [
            *(*PIECES, "<br />", "&#0;", "&#x99;", "&nGt;", "<p", " class", "<!--", "-->", "\r"),
            *("Σ", "\u017f", "\x1c", "\x85", "\ufeff", "\u13a0", "\uab70"),
        ]
    )
).map("".join)

# What the tests ask, besides what the page has.
ASKED = """
const splits = { keras: kerasWords, unicode: classifier.split };
const words = (rules, texts) => texts.map((text) => splits[rules](text));
const spans = (rules, text, first) => wordSpans(text, splits[rules], first);
const encoded = (texts) => texts.map((text) => classifier.encode(classifier.split(text)));
const answers = (texts) => texts.map((text) => classifier.answer(text));
const abstaining = (texts, coverage) => texts.map((text) => classifier.answer(text, coverage));
const explained = (text) => {
  const found = [...classifier.explain(text, classifier.answer(text).best)].filter(Boolean);
  return { ...found.at(-1), weights: null, times: found.length };
};
"""


def engine(model: TrainedModel, directory: Path) -> Any:
    html.write(model, directory / "page.html")
    made = html.opened(directory / "page.html")
    made.eval(ASKED)
    return made


def by(rules: TextRules, model: TrainedModel) -> TrainedModel:
    """The model, whose vocabulary is of other rules."""
    vocabulary = Vocabulary(model.vocabulary.words, rules)
    return dataclasses.replace(model, info=dataclasses.replace(model.info, inputs=vocabulary))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return engine(untrained(), tmp_path_factory.mktemp("page"))


class TestWords:
    @pytest.mark.parametrize("rules", RULES)
    @given(text=TYPED)
    def test_a_text_has_the_words_of_its_rules(
        self, page: Any, rules: TextRules, text: str
    ) -> None:
        assert page.call("words", rules, [text]) == [split_words(text, rules)]

    def assert_same(self, page: Any, rules: TextRules, characters: list[str]) -> None:
        texts = [f"{each} a{each}b ก{each} A{each}" for each in characters]
        assert page.call("words", rules, texts) == [split_words(text, rules) for text in texts]

    @pytest.mark.parametrize("rules", RULES)
    def test_every_kind_of_character_is_what_it_is_in_python(
        self, page: Any, rules: TextRules
    ) -> None:
        chosen = random.Random(0).sample(CHARACTERS, 6000)
        self.assert_same(page, rules, CHARACTERS[:6000] + chosen)

    @pytest.mark.long
    @pytest.mark.parametrize("rules", RULES)
    def test_every_character_is_what_it_is_in_python(self, page: Any, rules: TextRules) -> None:
        self.assert_same(page, rules, CHARACTERS)

    def test_every_entity_of_html_is_its_character(self, page: Any) -> None:
        texts = [f"a&{name}b &amp;{name}" for name in html5 if name.endswith(";")]
        texts += [f"a&#{code};b &#x{code:x};" for code in [*range(0x300), 0xD800, 0x110000]]
        assert page.call("words", "unicode", texts) == [split_words(text) for text in texts]

    @pytest.mark.parametrize("rules", RULES)
    @given(text=TYPED, first=st.integers(0, 3))
    def test_they_stand_where_they_stand_in_python(
        self, page: Any, rules: TextRules, text: str, first: int
    ) -> None:
        found = page.call("spans", rules, text, first)
        assert found == [[*span] for span in word_spans(text, rules)][first:]

    @pytest.mark.parametrize(
        "text",
        [
            *("<" * 10**5, "&" + "amp;" * 10**5, "&amp;" * 10**5, "<a " * 10**5, "<!--" * 10**5),
            *("<a" + " x=1" * 10**5, "<a" + " " * 10**5, "<a " + "b" * 10**5),
            *("a" + "\u0315\u0300" * 10**5, "a" + "ﾞ\u0315" * 10**5),
        ],
        ids=lambda text: ascii(text[:9]),
    )
    def test_hostile_texts_take_no_longer(self, page: Any, text: str) -> None:
        """What is quadratic would take minutes."""
        assert page.call("words", "unicode", [text]) == [split_words(text)]


# Private ones all alike, and surrogates, which no text has, are left out.
CHARACTERS = [
    each for each in map(chr, range(0x110000)) if unicodedata.category(each) not in "Cn Cs Co"
]


class TestAnswers:
    @pytest.mark.parametrize(
        "settings", [*({"arch": a} for a in ARCHITECTURES), *SETTINGS], ids=str
    )
    def test_every_network_answers_as_the_model(
        self, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        model = untrained(**settings)
        data = model.config.data
        asked = question(data.padding, time=data.longest)
        answers = answers_of(model)(*asked)
        assert np.ptp(answers[:, 0]) > 0.05  # They depend on the text.
        html.write(model, tmp_path / "page.html")
        read = html.read(tmp_path / "page.html")
        np.testing.assert_allclose(read(*asked), answers, rtol=0, atol=1e-6)
        none = read(np.zeros((0, 5), np.int32), np.zeros(0, np.int32))
        assert none.shape == (0, len(model.info.classes))

    @pytest.mark.parametrize("rules", RULES)
    @pytest.mark.parametrize(
        "data", [{}, {"padding": "keras"}, {"long": "head"}, {"long": "windows"}], ids=str
    )
    def test_a_text_is_answered_as_by_predict(
        self, rules: TextRules, data: dict[str, str], tmp_path: Path
    ) -> None:
        model = by(rules, untrained("conv_lstm", classes=3, **data))
        page = engine(model, tmp_path)
        for predicted, found in zip(model.predict(TEXTS), page.call("answers", TEXTS), strict=True):
            assert found["label"] == predicted.label
            assert dict(found["shown"]) == pytest.approx(predicted.probabilities, abs=1e-6)
            assert found["share"] == max(dict(found["shown"]).values())

    @pytest.mark.parametrize("data", [{}, {"padding": "keras"}, {"long": "windows"}], ids=str)
    def test_it_abstains_as_predict_does(self, data: dict[str, str], tmp_path: Path) -> None:
        model = calibrated(untrained("conv_lstm", classes=3, **data))
        page = engine(model, tmp_path)
        # Of the last but one the model reads no word that it knows.
        texts = [*TEXTS, "kino", "good " + "kino " * model.config.data.longest, "kino good"]
        sizes = set()
        for coverage in (0.8, 0.95):
            found = page.call("abstaining", texts, str(coverage))
            for predicted, answer in zip(
                model.predict(texts, abstain=coverage), found, strict=True
            ):
                assert tuple(answer["inSet"]) == predicted.prediction_set
                sizes.add(len(answer["inSet"]))
        assert len(sizes) > 1
        html = (tmp_path / "page.html").read_text()
        assert 'value="0.95">at a coverage of 95%' in html
        assert 'value="0.99"' in html
        assert 'id="abstain"' not in (self.write(untrained(), tmp_path))

    def write(self, model: TrainedModel, directory: Path) -> str:
        html.write(model, directory / "other.html")
        return (directory / "other.html").read_text()

    def test_what_cannot_be_answered_is_said(self, page: Any) -> None:
        blank, wordless, unknown, known = page.call("answers", [" ", " ...", "Kino", "Kino film"])
        assert blank == {"problem": ""}
        assert wordless == {"problem": "There are no words in this text."}
        assert unknown["problem"].startswith("The model knows none of these words")
        assert unknown["label"]
        assert known["problem"] == ""

    def test_of_many_classes_the_likeliest_are_shown(self, tmp_path: Path) -> None:
        model = untrained(classes=30)
        ((shown),) = engine(model, tmp_path).call("answers", ["good film"])
        probabilities = model.predict(["good film"])[0].probabilities
        likeliest = sorted(probabilities, key=lambda name: -probabilities[name])
        assert [name for name, _ in shown["shown"]] == likeliest[:5]
        assert shown["label"] == likeliest[0]


class TestExplanations:
    @pytest.mark.parametrize("settings", [*SETTINGS, {"long": "head"}], ids=str)
    def test_words_add_what_they_add_in_python(
        self, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        model = untrained(**settings)
        page = engine(model, tmp_path)
        for text in TEXTS[2:4]:
            (expected,) = model.explain([text])
            label = expected.label
            sign = 1 if label in expected.differences else -1
            name = label if sign == 1 else next(iter(expected.differences))
            found = page.call("explained", text)
            assert found["complete"]
            assert found["difference"] == pytest.approx(sign * expected.differences[name], abs=1e-4)
            # Words that are not read are not there.
            is_head, number = model.config.data.long == "head", len(found["words"])
            words = expected.words[:number] if is_head else expected.words[-number:]
            assert [(w["start"], w["end"]) for w in found["words"]] == [
                (word.start, word.end) for word in words
            ]
            np.testing.assert_allclose(
                [word["weight"] for word in found["words"]],
                [sign * word.weights[name] for word in words],
                atol=TOLERANCE * max(1, abs(found["difference"])),
            )
        # The last text is long.
        assert (len(words) < len(expected.words)) == (model.config.data.long != "windows")

    def test_a_sum_that_is_not_right_is_not_complete(self, page: Any) -> None:
        """Of a network that jumps, so that it has no slope anywhere."""
        page.eval(
            """
            const jumping = {
              bias: { values: [0] },
              embed: () => ({ steps: 1, width: 1, values: Float64Array.of(1) }),
              ofNgrams: () => new Float64Array(1),
              encode: ({ values: [x] }) => ({ logits: [+(x > 0.3)], back: () => [0] }),
            };
            """
        )
        complete, done, parts = (
            page.eval(
                """
            (() => {
              const found = [...attribute(jumping, [5], 0)];
              const { complete, done } = found.at(-1);
              return JSON.stringify([complete, done, found.length]);
            })()
            """
            )
            .strip("[]")
            .split(",")
        )
        assert (complete, done) == ("false", "true")
        assert int(parts) < 5000


HOSTILE = '</script><script>x</script><!-- {{ 7 * 7 }} &amp; " \u2028'


class Tags(HTMLParser):
    """The tags of a page, and its attributes that load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str | None] = []
        self.policy = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href", "action")]
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""


class TestPage:
    @pytest.fixture
    def named(self, tmp_path: Path) -> Iterator[Any]:
        def write(name: str) -> str:
            model = untrained(classes=3)
            words = Vocabulary([name, *model.vocabulary.words])
            info = dataclasses.replace(
                model.info, name=name, classes=("a", name, "c"), inputs=words
            )
            html.write(dataclasses.replace(model, info=info), tmp_path / "page.html")
            return (tmp_path / "page.html").read_text("utf-8")

        return write

    def test_names_are_data(self, named: Any, tmp_path: Path) -> None:
        harmless = Tags(named("b"))
        assert Tags(named(HOSTILE)).tags == harmless.tags
        page = html.opened(tmp_path / "page.html")
        assert page.eval("classifier.classes[1]") == HOSTILE
        assert page.eval(f"classifier.ids.get({HOSTILE!r})") == 3

    def test_it_asks_for_nothing(self, named: Any) -> None:
        page = named("b")
        found = Tags(page)
        assert found.loaded == []
        styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
        scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
        (style,), (script,) = (
            [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in inline]
            for inline in (styles, scripts)
        )
        assert found.policy == (
            "default-src 'none'; base-uri 'none'; form-action 'none'; "
            f"style-src 'sha256-{style}'; script-src 'sha256-{script}'; worker-src blob:"
        )

    def test_it_says_what_it_is(self, tmp_path: Path) -> None:
        model = untrained("bilstm")
        html.write(model, tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text("utf-8")
        assert "<title>bilstm on synthetic</title>" in page
        assert "it knows nothing" in page
        assert f"the last {MAX_LENGTH} words" in page
        assert "Accuracy" not in page
        assert "<noscript>" in page

    def test_a_model_that_is_too_large_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(html, "MAX_BYTES", 2**20)
        model = untrained(ngrams=2, ngram_buckets=2**17)
        with pytest.raises(InputError, match="2 MiB of numbers are too many for a page: 1 at most"):
            html.write(model, tmp_path / "page.html")

    def test_it_is_checked_in_a_new_process(self, tmp_path: Path) -> None:
        path = tmp_path / "page.html"
        assert export(untrained(), "html", path) == [path]
        assert [*tmp_path.iterdir()] == [path]
