"""A model to serve that needs no training: it says what the first word of a text is."""

import json
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from flax_imdb.serve import About
from flax_imdb.training import check_coverage


class ServedModel:
    """Says "good" with 0.75 of texts that begin so, otherwise "bad"; "bug" is none of its words.

    The classes in a prediction set have at least the coverage as their probability.

    Args:
      held: whether it waits with all answers until `go` is set.
      sizes: of its batches.

    Attributes:
      asked: the batches it was given.
    """

    def __init__(self, held: bool = False, sizes: Sequence[int] = (1, 4, 8)):
        self.about = About("known on <b>texts</b>", "", 500, coverages=(0.2, 0.5, 0.8))
        self.sizes: Sequence[int] = sizes
        self.asked: list[list[str]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.prepared = threading.Event()
        self.prepared.set()
        if not held:
            self.go.set()

    def prepare(self) -> Iterator[None]:
        while not self.prepared.wait(0.01):
            yield

    def least_probability(self, coverage: float) -> float:
        check_coverage("`abstain`", coverage)
        return coverage

    def predict(self, texts: Sequence[Any], least: Sequence[float | None]) -> list[dict[str, Any]]:
        self.asked.append(list(texts))
        self.begun.release()
        self.go.wait()
        return [self._predicted(*each) for each in zip(texts, least, strict=True)]

    def _predicted(self, text: Any, least: float | None) -> dict[str, Any]:
        answer = self._answer(text)
        if least is None or "error" in answer:
            return answer
        in_set = [name for name, share in answer["probabilities"].items() if share >= least]
        label = answer["label"] if len(in_set) == 1 else None
        return {**answer, "label": label, "prediction_set": in_set}

    def explain(self, text: Any) -> dict[str, Any]:
        answer = self._answer(text)
        if "error" in answer:
            return answer
        words, end = [], 0
        for word in text.split():
            start = text.index(word, end)
            end = start + len(word)
            weight = {"good": 2.0, "bad": -2.0}.get(word, 0.0)
            words.append({"word": word, "start": start, "end": end, "weights": {"good": weight}})
        sum_ = sum(word["weights"]["good"] for word in words)
        return {**answer, "differences": {"good": sum_}, "words": words}

    def _answer(self, text: Any) -> dict[str, Any]:
        if not isinstance(text, str) or not text.split():
            return {"error": f"no words in {text!r:.20}"}
        if text == "bug":
            raise ZeroDivisionError
        good = 0.75 if text.startswith("good") else 0.25
        label = "good" if good > 0.5 else "bad"
        return {"label": label, "probabilities": {"bad": 1 - good, "good": good}}


def main() -> None:
    """Serve it at a free port to clients that may take so long; a line of input lets it answer."""
    from flax_imdb.serve import Limits, listen, requests, serve, server

    if len(sys.argv) > 1:
        requests.CLIENT_SECONDS = server.CLIENT_SECONDS = float(sys.argv[1])
    model = ServedModel(held=True)

    def read() -> None:
        sys.stdin.readline()
        model.go.set()

    threading.Thread(target=read, daemon=True).start()
    with listen("127.0.0.1", 0) as listening:
        print(json.dumps(listening.getsockname()), flush=True)
        serve(model, listening, Limits(), lambda seconds: None)


if __name__ == "__main__":
    main()
