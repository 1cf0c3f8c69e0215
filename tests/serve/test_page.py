"""The page: what is on it, and that nothing of a text is markup."""

import itertools
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served_model import ServedModel
from starlette.testclient import TestClient

from flax_imdb.pages import printable
from flax_imdb.serve import About, Limits, create_app
from flax_imdb.serve.page import FILES, Page, parts, strongest

HOSTILE = [
    "<script>alert(1)</script>",
    "</textarea></blockquote></title><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; <!-- ]]>",
    '"\' onmouseover="alert(1)',
    "\u202egnp.exe\u2066",
    "null \0, bell \a, a lone surrogate \ud800",
    "\nbegins with a line break",
]


class Found(HTMLParser):
    """The tags of a page, and the text in each."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.addresses: list[str | None] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "action")]
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag] = self.texts.get(tag, "") + data


def words(*spans: tuple[int, int, float]) -> list[dict]:
    return [{"start": a, "end": b, "weights": {"good": weight}} for a, b, weight in spans]


def page(text: str = "", name: str = "lstm", **content: object) -> str:
    return Page(About(name, "", 500), Limits())(text, **content)  # type: ignore[arg-type]


def explained(label: str, *spans: tuple[int, int, float]) -> dict:
    """An answer of the API."""
    return {
        "label": label,
        "probabilities": {"bad": 0.5, "good": 0.5},
        "differences": {"good": sum(weight for *_, weight in spans)},
        "words": [{"word": "", **word} for word in words(*spans)],
    }


class TestParts:
    def test_words_are_marked_by_side_and_strength(self) -> None:
        answer = explained("good", (3, 7, 2.0), (9, 12, -1.0), (13, 16, 0.15))
        found = parts("so good, not bad", answer)
        assert [(part.text, part.look) for part in found] == [
            *(("so ", ""), ("good", "for l4"), (", ", ""), ("not", "against l2"), (" ", "")),
            ("bad", ""),  # It hardly matters.
        ]
        assert [part.text for part in strongest(found)] == ["good", "not"]

    def test_they_are_for_or_against_the_label(self) -> None:
        (part,) = parts("good", explained("bad", (0, 4, 1.0)))
        assert part.look == "against l4"

    @given(
        text=st.text(max_size=30),
        places=st.lists(st.integers(0, 30), max_size=10),
        weight=st.floats(-9, 9),
    )
    def test_they_make_up_the_text(self, text: str, places: list[int], weight: float) -> None:
        ends = sorted({min(place, len(text)) for place in places})
        spans = [(a, b, weight) for a, b in itertools.pairwise(ends)]
        assert "".join(part.text for part in parts(text, explained("good", *spans))) == text


class TestPage:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_texts_and_names_are_data(self, text: str) -> None:
        made = Found(
            page(
                text,
                name=text,
                answer={
                    "label": text,
                    "probabilities": {text: 1.0},
                    "differences": {text: 1.0},
                    "words": [{"word": "", "start": 0, "end": len(text), "weights": {text: 1.0}}],
                },
                problem=text,
            )
        )
        harmless = Found(
            page(
                "x",
                answer={
                    "label": "x",
                    "probabilities": {"x": 1.0},
                    "differences": {"x": 1.0},
                    "words": [{"word": "", "start": 0, "end": 1, "weights": {"x": 1.0}}],
                },
                problem="x",
            )
        )
        assert made.tags == harmless.tags
        assert made.texts["textarea"].removeprefix("\n") == printable(text)
        assert made.texts["blockquote"] == printable(text)
        assert made.texts["title"] == printable(text)

    def test_all_addresses_are_relative_and_of_this_server(self) -> None:
        addresses = Found(page()).addresses
        assert set(addresses) == {*FILES, "openapi.json"}

    def test_without_javascript_its_form_is_answered_on_the_page(self) -> None:
        with TestClient(create_app(ServedModel(), Limits())) as client:
            while client.get("/ready").status_code != 200:
                pass
            response = client.post("/", data={"text": "good or bad"})
            assert response.status_code == 200
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"
            found = Found(response.text)
            assert found.texts["strong"] == "good"
            assert "75.0%" in found.texts["p"]
            assert found.texts["blockquote"] == "good or bad"
            assert found.texts["mark"] == "foragainst" + "goodbad"
            assert found.texts["h1"] == "known on <b>texts</b>"

    @pytest.mark.parametrize(
        ("body", "status", "reason"),
        [
            (b"text=", 200, "no words in ''"),
            (b"text=" + b"a" * 50_001, 413, "50,001 characters, which are too many"),
            (b"text=" + b"a" * 9_000_000, 413, "9,000,005 bytes are too many"),
            (b"text=%ff", 400, "the form has no text in UTF-8"),
            (b"other=1", 400, "the form has no text in UTF-8"),
            (b"text=a&text=b", 400, "the form has no text in UTF-8"),
            (b"a&" * 100, 400, "the form has no text in UTF-8"),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_it_says_why_there_is_no_answer(self, body: bytes, status: int, reason: str) -> None:
        with TestClient(create_app(ServedModel(), Limits())) as client:
            while client.get("/ready").status_code != 200:
                pass
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = client.post("/", content=body, headers=headers)
            assert response.status_code == status
            assert reason in Found(response.text).texts["p"]

    def test_its_files_are_served_with_their_types(self) -> None:
        with TestClient(create_app(ServedModel(), Limits())) as client:
            for name, media_type in (
                ("page.css", "text/css; charset=utf-8"),
                ("page.js", "text/javascript; charset=utf-8"),
                ("icon.svg", "image/svg+xml"),
            ):
                response = client.get(f"/{name}")
                assert response.headers["Content-Type"] == media_type
                assert response.text == FILES[name][0]
