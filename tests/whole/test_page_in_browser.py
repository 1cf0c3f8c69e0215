"""The page of `flax-imdb serve` in a real browser."""

import http.client
import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pages_in_browser import CONTRASTS, FITS, answered, field, marks
from PIL import Image
from server_process import Process

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    "</textarea></blockquote><svg onload=alert(1)> good {{ 7 * 7 }} &lt;b&gt;"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a server whose model is `served_model`."""
    with Process() as process:
        process.go()
        yield "http://{}:{}/".format(*process.address)


def test_what_is_typed_is_answered(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    field(page).press_sequentially("good, not bad and good")
    answered(page, "good")
    assert page.locator("#share").inner_text() == "75.0%"
    assert page.locator("#probabilities").inner_text().split() == [
        *("Probability", "of", "each", "class", "bad", "25.0%", "good", "75.0%")
    ]
    assert page.locator("#words").inner_text() == "good, not bad and good"
    assert marks(page) == [("bad", "against l4"), ("good", "for l4")]
    field(page).fill("bad")
    answered(page, "bad")
    assert marks(page) == [("bad", "for l4")]
    field(page).fill("")
    page.locator("#answer").wait_for(state="hidden")


def test_answers_that_come_late_are_dropped(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    held = []

    def hold(route: Any) -> None:
        """The answer to the first text comes when the second is there already."""
        if "bad" in route.request.post_data:
            held.append(route)
        else:
            route.continue_()

    page.route("**/predict", hold)
    with page.expect_request("**/predict"):
        field(page).fill("bad")
    field(page).fill("good")
    answered(page, "good")
    (late,) = held
    late.continue_()
    page.wait_for_timeout(500)
    assert page.locator("#label").inner_text() == "good"
    assert page.locator("#words").inner_text() == "good"


def test_without_javascript_it_is_a_form(address: str, open_page: Callable[..., Any]) -> None:
    """The answer is the same, to the last tag."""
    text = "good \U0001f600 <b>bad</b> bad\n\n\u05e9\u05dc\u05d5\u05dd good"
    scripted = open_page(address)
    field(scripted).fill(text)
    answered(scripted, "good")
    plain = open_page(address, java_script_enabled=False)
    field(plain).fill(text)
    plain.get_by_role("button", name="Classify").click()
    assert field(plain).input_value() == text
    both = [page.locator("#answer").evaluate("e => e.innerHTML") for page in (scripted, plain)]
    # Forms send line breaks as HTTP does.
    assert both[0].replace(' class=""', "") == both[1].replace("\r", "")


@pytest.mark.parametrize("scripts", [True, False])
def test_it_may_not_know(address: str, open_page: Callable[..., Any], scripts: bool) -> None:
    page = open_page(address, java_script_enabled=scripts)
    for coverage, label, share in (
        ("0.2", "does not know", "bad or good"),
        ("0.5", "good", "75.0%"),
        ("0.8", "does not know", "no class is likely enough"),
        ("", "good", "75.0%"),
    ):
        field(page).fill("good film")
        page.get_by_label("It may say that it does not know").select_option(coverage)
        if not scripts:
            page.get_by_role("button", name="Classify").click()
        answered(page, label)
        assert page.locator("#share").inner_text() == share
        page.locator("#words").wait_for(state="visible" if label == "good" else "hidden")
        assert page.locator("#abstain").input_value() == coverage


def test_emoji_are_marked_where_they_stand(address: str, open_page: Callable[..., Any]) -> None:
    """Offsets count code points, of which JavaScript's strings have up to two units each."""
    page = open_page(address)
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    field(page).fill(f"\U0001f600\U0001f600 {family} good \U00020000 bad")
    answered(page, "bad")
    assert marks(page) == [("good", "against l4"), ("bad", "for l4")]


def test_markup_and_scripts_are_text(address: str, open_page: Callable[..., Any]) -> None:
    for options in ({}, {"java_script_enabled": False}):
        page = open_page(address, **options)
        title = page.title()
        field(page).fill(HOSTILE)
        page.get_by_role("button", name="Classify").click()
        answered(page, "bad")
        assert page.locator("#words").inner_text() == HOSTILE
        assert page.locator("#words *:not(mark)").count() == 0
        assert page.locator("img, script").count() == 1  # Its own.
        assert page.title() == title


def test_ten_megabytes_are_refused_in_words(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address, permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('good '.repeat(2 * 1024 * 1024))")
    field(page).press("Control+V", timeout=120_000)
    page.get_by_role("alert").wait_for(timeout=120_000)
    assert page.get_by_role("alert").inner_text() == (
        "10,485,760 characters, which are too many: 50,000 at most"
    )
    field(page).fill("good", timeout=120_000)
    answered(page, "good")
    plain = open_page(address, java_script_enabled=False)
    field(plain).fill("good " * 2 * 1024 * 1024, timeout=120_000)
    plain.get_by_role("button", name="Classify").click(timeout=120_000)
    plain.get_by_role("alert").wait_for(timeout=120_000)
    assert "bytes are too many: 8,388,608 at most" in plain.get_by_role("alert").inner_text()
    plain.complaints.clear()  # Chromium's own note on the status 413.


def test_a_server_that_is_gone_is_said(browser: Any) -> None:
    with Process() as process:
        process.go()
        page = browser.new_context().new_page()
        page.goto("http://{}:{}/".format(*process.address))
    field(page).fill("good")
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text() == "the server does not answer"


def test_a_server_that_is_busy_is_asked_again(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"error": "too many"}}
    for path in ("predict", "explain"):
        page.route(f"**/{path}", lambda route: route.fulfill(**busy), times=1)
    field(page).fill("good")
    page.get_by_text("too many: asking again ...").wait_for()
    answered(page, "good")
    assert page.get_by_role("alert").count() == 0
    assert marks(page) == [("good", "for l4")]
    page.complaints.clear()  # Chromium's own notes on the status.


def test_without_an_explanation_there_is_an_answer(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    late = {"status": 504, "json": {"error": "there was no answer"}}
    page.route("**/explain", lambda route: route.fulfill(**late))
    field(page).fill("good")
    page.get_by_role("alert", name="").get_by_text("there was no answer").wait_for()
    assert page.locator("#label").inner_text() == "good"
    assert not page.locator("#words").is_visible()
    page.complaints.clear()


def test_the_keyboard_is_enough(address: str, open_page: Callable[..., Any]) -> None:
    page = open_page(address)
    focused = "document.activeElement.id || document.activeElement.tagName"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "text"
    page.keyboard.type("bad film")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "BUTTON"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "abstain"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    answered(page, "bad")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "words"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "A"


@pytest.mark.parametrize(
    ("width", "scale"), [(640, 2), (320, 1), (320, 4)], ids=["200 %", "narrow", "400 %"]
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_when_enlarged_or_narrow(
    address: str, open_page: Callable[..., Any], width: int, scale: int, scheme: str
) -> None:
    """A window of 1280 pixels at 200 % has as many pixels of CSS as one of 640."""
    viewport = {"width": width, "height": 640}
    page = open_page(address, viewport=viewport, device_scale_factor=scale, color_scheme=scheme)
    assert page.evaluate(FITS)
    field(page).fill(f"good {'w' * 300} bad")
    answered(page, "good")
    assert page.evaluate(FITS)
    assert page.evaluate(CONTRASTS) >= 4.5


class Proxy(BaseHTTPRequestHandler):
    """Passes on what comes under /x/8000/, and nothing else, as proxies of notebooks do."""

    target = ""

    def pass_on(self) -> None:
        if not self.path.startswith("/x/8000/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        there = http.client.HTTPConnection(self.target)
        there.request(self.command, self.path.removeprefix("/x/8000"), body, dict(self.headers))
        response = there.getresponse()
        content = response.read()
        self.send_response(response.status)
        for name, value in response.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = pass_on

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize("scripts", [True, False])
def test_it_works_under_a_path_of_a_proxy(
    address: str, open_page: Callable[..., Any], scripts: bool
) -> None:
    handler = type("OfThis", (Proxy,), {"target": address.removeprefix("http://").strip("/")})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        port = proxy.server_address[1]
        page = open_page(f"http://127.0.0.1:{port}/x/8000/", java_script_enabled=scripts)
        field(page).fill("good")
        page.get_by_role("button", name="Classify").click()
        answered(page, "good")
        assert page.url == f"http://127.0.0.1:{port}/x/8000/"
        assert page.evaluate("getComputedStyle(document.querySelector('form button')).cursor") == (
            "pointer"  # The style sheet is there.
        )
        described = page.get_by_role("link", name="the API").evaluate("link => link.href")
        assert described == f"{page.url}openapi.json"
        assert page.request.get(described).json()["openapi"] == "3.1.0"
        proxy.shutdown()


REVIEW = (
    "The first half is slow and one scene is plain bad. Still, the acting is wonderful and the "
    "ending moved me to tears: I loved it, and will see it again."
)


@pytest.fixture(scope="module")
def run_on_reviews(imdb_reviews_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("reviews") / "run"
    flags = ("--arch", "conv_lstm", "--epochs", "3", "--no-baseline")
    places = ("--data-dir", imdb_reviews_dir, "--workdir", workdir)
    train = [sys.executable, *map(str, (ROOT / "train.py", *flags, *places))]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    return workdir


def test_the_picture_in_the_docs_is_of_a_model_of_the_real_reviews(
    run_on_reviews: Path, open_page: Callable[..., Any]
) -> None:
    serve = [sys.executable, "-m", "flax_imdb", "serve", "--port", "0", "--workdir", run_on_reviews]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().removeprefix("Listening at ").strip()
            assert process.stdout.readline().startswith("Ready")
            page = open_page(address, viewport={"width": 800, "height": 600})
            field(page).fill(REVIEW)
            answered(page, "positive")
            looks = dict(marks(page))
            assert looks["wonderful"].startswith("for")
            assert looks["bad"].startswith("against")
            page.get_by_role("textbox").blur()
            picture = page.screenshot(full_page=True)
        finally:
            process.terminate()
    path = ROOT / "docs" / "serve.png"
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)
    assert path.stat().st_size < 100_000
