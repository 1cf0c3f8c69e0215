"""The page on a run, or on several: what is on it, and that nothing on it is markup but its own."""

import dataclasses
import hashlib
import re
import shutil
from base64 import b64encode
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from epochs import epochs
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import STEPS, experiment, quiet_train

from flax_imdb.cli import main
from flax_imdb.config import ExperimentConfig
from flax_imdb.data import DatasetInfo, Examples, Vocabulary
from flax_imdb.errors import InputError
from flax_imdb.pages import printable
from flax_imdb.predict import load
from flax_imdb.report.run_page import Mistake, Predicted, Run, names_of, read_run, render
from flax_imdb.results import Result
from flax_imdb.scores import score
from flax_imdb.training import Evaluation, StepRecord, TrainConfig
from flax_imdb.workdir import Workdir

HOSTILE = [
    "<script>alert(1)</script>",
    "</blockquote></style></script><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp; <!-- ]]>",
    '"\' onmouseover="alert(1)',
    "\u202egnp.exe\u2066",
    "null \0, bell \a, a lone surrogate \ud800",
]


class Page(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th", "dt", "dd", "small"):
            self.handle_data(" ")
        self.texts.setdefault(tag, []).append("")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data

    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}

    def text(self, tag: str = "body") -> str:
        return " ".join(" ".join(self.texts.get(tag, [])).split())


def run(
    texts: Sequence[str] = (), classes: tuple[str, ...] = ("negative", "positive"), **changes: Any
) -> Run:
    """A run that nobody trained, with mistakes in these texts."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(classes), 60)
    evaluation = Evaluation(
        0.4, 0.5, rng.integers(0, len(classes), 60), rng.uniform(0.5, 1, 60).astype(np.float32)
    )
    examples = Examples.build([np.zeros(n, np.int32) for n in rng.integers(1, 40, 60)], labels)
    config = ExperimentConfig(training=TrainConfig(seed=changes.pop("seed", 7)))
    accuracy = changes.pop("accuracy", 0.5)
    result = Result(
        **{
            **dict.fromkeys((field.name for field in dataclasses.fields(Result)), 1),
            **dataclasses.asdict(score(evaluation, labels, classes)),
            **{"arch": "lstm", "dataset": "reviews.csv", "note": "", "device_kind": "cpu"},
            **{"test_accuracy": accuracy, "test_examples": 60, "epochs": 2, "reported_epoch": 2},
            **{"baseline_accuracy": None, "seed": config.training.seed, "skipped_steps": 0},
            "versions": {"flax_imdb": "0.1.0"},
        }
    )
    mistakes = [Mistake(i, *classes[:2], 0.9, text, 0) for i, text in enumerate(texts)]
    steps = [StepRecord(1 + i // 5, i + 1, 0.1 * i or None, 0.5, 1.0, 9.0) for i in range(10)]
    content = {
        **{"name": "run", "config": config, "result": result, "epochs": epochs(5, 10)},
        **{"info": DatasetInfo("reviews.csv", "abc", classes, Vocabulary([])), "steps": steps},
        **{"predicted": Predicted(examples, evaluation), "mistakes": mistakes},
        **changes,
    }
    return Run(**content)


class TestRender:
    def test_the_title_and_the_accuracy_come_first(self) -> None:
        page = Page(render([run(accuracy=0.75)]))
        assert page.text("title") == "lstm on reviews.csv: 75.00%"
        assert page.text().startswith("lstm on reviews.csv 75.00% accuracy on 60 test texts (95%")

    @pytest.mark.parametrize(
        ("baseline", "said"), [(0.625, "12.50 points above"), (0.8, "5.00 points below")]
    )
    def test_it_is_compared_with_word_counts(self, baseline: float, said: str) -> None:
        plain = run(accuracy=0.75)
        result = dataclasses.replace(plain.result, baseline_accuracy=baseline)
        page = Page(render([dataclasses.replace(plain, result=result)]))
        assert f"word counts {baseline:.2%} the model is {said}" in page.text("dl")
        assert "word counts" not in Page(render([plain])).text()

    def test_every_step_is_in_the_curve(self) -> None:
        html = render([run()])
        (path,) = re.findall(r'<g class="line step">\s*<path d="([^"]*)"', html)[:1]
        assert len(re.findall("[ML]", path)) == 9  # One of ten is not finite.
        assert "each step" in html
        assert "each step" not in render([run(steps=[])])

    def test_all_parts_are_there(self) -> None:
        page = Page(render([run(["a film"])]))
        headings = ["Training", "Classes", "Calibration", "Length of the text"]
        assert page.texts["h2"] == [
            *headings,
            "The most certain mistakes",
            "Settings and versions",
        ]
        assert page.texts["caption"] == [
            *("Epochs", "Scores by class", "Confusion matrix", "Accuracy by probability"),
            *("Accuracy by length", "Settings. Those marked * differ from the defaults."),
            "Versions",
        ]

    def test_settings_that_differ_are_marked_and_first(self) -> None:
        rows = Page(render([run(seed=8)])).texts["tr"]
        (first, *_) = [row for row in rows if "*" in row]
        assert first.split() == ["seed", "*", "8", "7"]

    def test_the_lengths_are_those_of_all_texts(self) -> None:
        of_run = run()
        assert of_run.predicted is not None
        page = Page(render([of_run]))
        rows = [row.split() for row in page.texts["tr"]]
        groups = [row for row in rows if re.fullmatch(r"\d+(-\d+)?", row[0]) and row[-2] == "to"]
        assert sum(int(row[1]) for row in groups) == 60
        correct = of_run.predicted.evaluation.predicted == of_run.predicted.examples.labels
        share = sum(int(row[1]) * float(row[2][:-1]) for row in groups) / 60
        assert share == pytest.approx(100 * correct.mean(), abs=0.01)

    def test_of_many_classes_the_lowest_are_shown(self) -> None:
        page = Page(render([run(classes=tuple(f"class {i}" for i in range(60)))]))
        assert "the 50 with the lowest F1 of 60 classes" in page.text()
        assert "the 50 most frequent of 60 classes" in page.text()

    def test_a_perfect_run_can_be_drawn(self) -> None:
        perfect = [dataclasses.replace(e, eval_accuracy=1.0, train_accuracy=1.0) for e in epochs(5)]
        assert "nan" not in render([run(epochs=perfect, steps=[])])

    def test_what_is_missing_is_said(self) -> None:
        page = Page(render([run(predicted=None, mistakes=None, missing="They have moved.")]))
        assert "They have moved." in page.text("p")
        assert "Length of the text" not in page.text()
        assert "certain mistakes" not in page.text()


class TestNothingIsMarkup:
    ORDINARY = Page(render([run(["a film"] * 7)]))

    def test_hostile_texts_are_texts(self) -> None:
        page = Page(render([run(HOSTILE)]))
        assert page.texts["blockquote"] == list(map(printable, HOSTILE))
        assert page.tags == self.ORDINARY.tags

    @settings(max_examples=30)
    @given(text=st.text(st.characters(exclude_characters="\r"), max_size=200))
    def test_any_text_is_a_text(self, text: str) -> None:
        page = Page(render([run([text] * 7)]))
        assert page.texts["blockquote"] == [printable(text)] * 7
        assert page.tags == self.ORDINARY.tags

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names_are_names(self, name: str) -> None:
        """Of classes, the dataset and the run; a label may not be empty, and is no more checked."""
        of_run = run(["a film"] * 7, classes=(name, "other"), name=name)
        result = dataclasses.replace(of_run.result, dataset=name, note=name)
        page = Page(render([dataclasses.replace(of_run, result=result)]))
        assert page.names() == self.ORDINARY.names()
        assert printable(name).strip() in page.texts["h1"][0]
        assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)

    def test_the_page_can_be_encoded_whatever_is_in_it(self) -> None:
        render([run(HOSTILE, classes=(HOSTILE[-1], "b"))]).encode()

    def test_nothing_is_fetched_and_no_other_script_runs(self) -> None:
        for runs in ([run()], [run(), run(seed=8)]):
            page = Page(render(runs))
            (policy,) = (
                attributes["content"]
                for tag, attributes in page.tags
                if attributes.get("http-equiv") == "Content-Security-Policy"
            )
            digests = {
                tag: b64encode(hashlib.sha256(page.texts[tag][0].encode()).digest()).decode()
                for tag in ("style", "script")
            }
            assert policy == (
                "default-src 'none'; base-uri 'none'; form-action 'none'; "
                f"style-src 'sha256-{digests['style']}'; script-src 'sha256-{digests['script']}'"
            )
            assert not {"img", "link", "iframe", "object", "form"} & page.names()
            for _, attributes in page.tags:
                assert "style" not in attributes
                assert "src" not in attributes
                assert attributes.get("href", "#").startswith("#")  # type: ignore[union-attr]


class TestComparison:
    def test_runs_have_a_row_each_and_a_part_each(self) -> None:
        page = Page(render([run(accuracy=0.5, name="a"), run(accuracy=0.75, seed=8, name="b")]))
        assert page.text("title") == "Comparison of 2 runs"
        assert page.texts["h2"] == ["Run 1: a", "Run 2: b"]
        table = page.texts["table"][0]
        assert "50.00%" in table
        assert "75.00%" in table
        links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
        ids = [attributes.get("id") for _, attributes in page.tags if "id" in attributes]
        assert [f"#{of}" for of in ("run1", "run2")] == links
        assert {"run1", "run2"} <= set(ids)
        assert len(set(ids)) == len(ids)

    def test_runs_of_other_seeds_are_summed_up(self) -> None:
        page = Page(render([run(accuracy=0.5), run(accuracy=0.75, seed=8)]))
        assert "lstm 1, 2 62.50% 17.68 points" in page.text("table")
        assert "seed 7 8" in page.text("table")

    def test_runs_on_other_texts_are_noted(self) -> None:
        other = dataclasses.replace(run().info, fingerprint="other")
        assert "different texts" in render([run(), run(info=other)])
        assert "different texts" not in render([run(), run(seed=8)])

    def test_names_are_as_short_as_they_can_be(self, tmp_path: Path) -> None:
        assert names_of([tmp_path / "a"]) == ["a"]
        assert names_of([tmp_path / "a", tmp_path / "b" / "c"]) == ["a", str(Path("b", "c"))]


@pytest.fixture(scope="module")
def finished(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that left all its texts to mistakes: it learned almost nothing."""
    workdir = tmp_path_factory.mktemp("report") / "run"
    config = experiment(reviews, epochs=1)
    slow = dataclasses.replace(config.training, learning_rate=1e-6)
    quiet_train(dataclasses.replace(config, training=slow), workdir)
    return workdir


class TestOfARun:
    def test_the_run_and_the_command_write_the_same(self, finished: Path) -> None:
        by_run = (finished / "report.html").read_text("utf-8")
        assert len(re.findall("<blockquote", by_run)) == 20
        (path,) = re.findall(r'<g class="line step">\s*<path d="([^"]*)"', by_run)[:1]
        assert len(re.findall("[ML]", path)) == STEPS
        assert main(["report", "--workdir", str(finished)]) == 0
        assert (finished / "report.html").read_text("utf-8") == by_run

    def test_a_mistake_is_with_its_text_and_its_classes(self, finished: Path) -> None:
        model = load(finished)
        examples = model.test_examples()
        predicted = Predicted(examples, model.predict_examples(examples))
        of_run = read_run(Workdir(finished), predicted)
        assert of_run.mistakes
        for mistake in of_run.mistakes:
            (prediction,) = model.predict([mistake.text])
            assert prediction.label == mistake.predicted != mistake.label
            assert prediction.probabilities[mistake.predicted] == pytest.approx(mistake.confidence)
            assert ("good" in mistake.text.split()) == (mistake.label == "positive")
        confidences = [mistake.confidence for mistake in of_run.mistakes]
        assert confidences == sorted(confidences, reverse=True)

    def test_no_texts_leaves_them_out(self, finished: Path, tmp_path: Path) -> None:
        output = tmp_path / "shown.html"
        assert main(["report", str(finished), "--no-texts", "--output", str(output)]) == 0
        page = Page(output.read_text("utf-8"))
        assert "blockquote" not in page.names()
        assert "The most certain mistakes were left out." in page.text()
        assert "Accuracy by length" in page.text()

    def test_another_file_is_not_replaced_unasked(
        self, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "mine.html"
        output.write_text("mine")
        args = ["report", "--workdir", str(finished), "--output", str(output)]
        assert main(args) == 2
        assert capsys.readouterr().err == (
            f"error: --output {output} exists: --overwrite replaces it\n"
        )
        assert output.read_text() == "mine"
        assert main([*args, "--overwrite"]) == 0
        assert output.read_text("utf-8").startswith("<!DOCTYPE html>")
        assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]

    def test_the_run_and_the_command_may_write_at_once(self, finished: Path) -> None:
        """A run that ends meanwhile has its own temporary file, ``report.html.tmp``."""
        theirs = finished / "report.html.tmp"
        theirs.write_text("half of")
        assert main(["report", str(finished)]) == 0
        assert theirs.read_text() == "half of"
        theirs.unlink()

    def test_several_runs_are_compared(
        self, reviews: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those of a directory with several seeds, too, which has a page of its own."""
        quiet_train(experiment(reviews, epochs=1, runs=2), tmp_path / "seeds")
        by_run = Page((tmp_path / "seeds" / "report.html").read_text("utf-8"))
        assert by_run.texts["h2"] == ["Run 1: seed-7", "Run 2: seed-8"]
        monkeypatch.chdir(tmp_path)
        assert main(["report", str(finished), "seeds"]) == 0
        assert len(Page(Path("report.html").read_text("utf-8")).texts["h2"]) == 3
        assert main(["report", str(finished), "seeds"]) == 2  # It is not a run's own.

    @pytest.mark.parametrize("changed", [False, True])
    def test_texts_that_are_gone_or_others_are_said_to_be_missing(
        self, finished: Path, reviews: Path, tmp_path: Path, changed: bool
    ) -> None:
        shutil.copytree(finished, tmp_path / "run")
        shutil.copytree(reviews, tmp_path / "moved")
        config = (tmp_path / "run" / "config.json").read_text()
        moved = config.replace(str(reviews.absolute()), str(tmp_path / "moved"))
        (tmp_path / "run" / "config.json").write_text(moved)
        if changed:
            next((tmp_path / "moved").rglob("test/pos/*.txt")).write_text("another")
        else:
            shutil.rmtree(tmp_path / "moved")
        args = ["report", "--workdir", str(tmp_path / "run")]
        assert main(args) == 0
        page = Page((tmp_path / "run" / "report.html").read_text("utf-8"))
        why = "holds other texts" if changed else "is not a directory"
        assert re.search(f"certain mistakes are missing: .*{why}", page.text("p"))
        assert "Confusion matrix" in page.text("caption")
        assert main([*args, "--data-dir", str(reviews)]) == 0
        assert "blockquote" in (tmp_path / "run" / "report.html").read_text("utf-8")

    @pytest.mark.parametrize("lacking", ["result.json", "metrics.jsonl"])
    def test_a_run_that_has_not_finished_is_refused(
        self, finished: Path, tmp_path: Path, lacking: str
    ) -> None:
        shutil.copytree(finished, tmp_path / "run")
        (tmp_path / "run" / lacking).unlink()
        with pytest.raises(InputError, match="holds no finished run: `resume` it"):
            read_run(Workdir(tmp_path / "run"), InputError("not known"))

    @pytest.mark.parametrize("place", ["no such folder/a.html", "mine/a.html"])
    def test_a_file_that_cannot_be_written_is_said_to_be(
        self, finished: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "mine").write_text("mine")
        assert main(["report", str(finished), "--output", str(tmp_path / place)]) == 2
        parent = (tmp_path / place).parent
        message = f"error: --output {tmp_path / place}: there is no directory {parent}\n"
        assert capsys.readouterr().err == message

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ([], "error: --workdir is missing: name the directory of a run, or of several"),
            (
                ["/nowhere"],
                "error: --workdir /nowhere holds no run: name a directory that train.py",
            ),
            (["/nowhere", "--output", "/"], "error: --output / is a directory, not a file"),
            (
                ["/nowhere", "--overwrite", "--output", "/dev/null"],
                "error: --output /dev/null is a pipe or a device, not a file",
            ),
        ],
    )
    def test_bad_input_is_one_line(
        self, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["report", *args]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(message)
