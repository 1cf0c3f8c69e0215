"""What explanations are worth: checked by deletion of words, and against captum.

    python benchmarks/explanations.py --workdir DIR,DIR --json benchmarks/results/explanations.json

Of each run, which was trained on the real reviews, random test reviews are explained. The words
with the largest weights for the predicted class are removed, and as many random ones: the
probability of the class should fall further without the former. Runs of the architecture ``lstm``
are also compared with captum's integrated gradients of a ``torch.nn.LSTM`` with the same weights
(``pip install captum torch``). docs/prediction.md shows the results.
"""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import runner

import flax_imdb
from flax_imdb.data.sources import find_source
from flax_imdb.explain import Explanation
from flax_imdb.predict import TrainedModel
from flax_imdb.tuning import tune_process

REVIEWS = 1000
REMOVED = 5
WITH_CAPTUM = 20
CAPTUM_STEPS = 300


def sample(model: TrainedModel, number: int) -> list[str]:
    """Random test reviews, the same for all runs."""
    texts, _ = find_source(model.config.data).read("test")
    rows = np.random.default_rng(0).choice(len(texts), number, replace=False)
    return [texts[row] for row in rows]


def without(explanation: Explanation, words: list[int]) -> str:
    """The text without some of its words."""
    text = list(explanation.text)
    for number in words:
        word = explanation.words[number]
        text[word.start : word.end] = " " * (word.end - word.start)
    return "".join(text)


def deletion(model: TrainedModel, explanations: list[Explanation]) -> dict[str, float]:
    """The mean probability of the predicted class with and without words, and how often it changes.

    Reviews of fewer than twice as many words are left out.
    """
    name = model.info.classes[1]
    rng = np.random.default_rng(1)
    shortened: dict[str, list[str]] = {"top": [], "random": []}
    kept = [each for each in explanations if len(each.words) >= 2 * REMOVED]
    for each in kept:
        sign = 1 if each.label == name else -1
        order = np.argsort([-sign * word.weights[name] for word in each.words])
        shortened["top"].append(without(each, order[:REMOVED].tolist()))
        chosen = rng.choice(len(each.words), REMOVED, replace=False)
        shortened["random"].append(without(each, chosen.tolist()))
    results = {
        "reviews": len(kept),
        "probability": float(np.mean([each.probabilities[each.label] for each in kept])),
    }
    for which, texts in shortened.items():
        after = model.predict(texts)
        pairs = [*zip(kept, after, strict=True)]
        results[f"probability_without_{which}"] = float(
            np.mean([now.probabilities[before.label] for before, now in pairs])
        )
        results[f"changed_without_{which}"] = float(
            np.mean([now.label != before.label for before, now in pairs])
        )
    return results


def of_captum(model: TrainedModel, text: str) -> np.ndarray:
    """The weights by captum of the words of a text, of a run of ``lstm``."""
    import torch
    from captum.attr import IntegratedGradients

    from flax_imdb.data import split_words

    params = model.state.params
    cell = params["encoder_0"]["cell"]
    cell = {name: torch.tensor(np.array(value)).double() for name, value in cell.items()}
    width, gates = cell["kernel"].shape
    lstm = torch.nn.LSTM(width, gates // 4, batch_first=True).double()
    weights = {"weight_ih_l0": cell["kernel"].T, "weight_hh_l0": cell["recurrent_kernel"].T}
    biases = {"bias_ih_l0": cell["bias"], "bias_hh_l0": torch.zeros_like(cell["bias"])}
    lstm.load_state_dict(weights | biases)
    head = {name: torch.tensor(np.array(value)).double() for name, value in params["head"].items()}

    def logit(embedded: Any) -> Any:
        return (lstm(embedded)[0][:, -1] @ head["kernel"] + head["bias"])[:, 0]

    data = model.config.data
    ids = model.vocabulary.encode(split_words(text, model.vocabulary.rules))[-data.max_length :]
    table = np.array(params["embedding"]["embedding"], float)
    embedded = torch.tensor(table[np.where(ids < data.vocab_size, ids, 2)])[None]
    blank = torch.zeros_like(embedded)
    starts = ids[0] == 1
    if starts:
        blank[:, 0] = embedded[:, 0]
    made = IntegratedGradients(logit).attribute(
        embedded, blank, n_steps=CAPTUM_STEPS, internal_batch_size=50
    )
    return made.sum(dim=-1)[0].numpy()[int(starts) :]


def against_captum(model: TrainedModel, explanations: list[Explanation]) -> dict[str, float]:
    """The largest difference of a weight, relative to the largest weight of its text, by review."""
    name = model.info.classes[1]
    errors = []
    for each in explanations[:WITH_CAPTUM]:
        theirs = of_captum(model, each.text)
        ours = np.array([word.weights[name] for word in each.words])[-len(theirs) :]
        errors.append(float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
    return {
        "reviews": len(errors),
        "steps": CAPTUM_STEPS,
        "median_error": float(np.median(errors)),
        "largest_error": max(errors),
    }


def measure(workdir: Path, reviews: int) -> dict[str, Any]:
    """Explain random reviews with the model of a run."""
    model = flax_imdb.load(workdir)
    name = model.info.classes[1]
    texts = sample(model, reviews)
    explanations, seconds, errors = [], [], []
    for text in texts:
        start = time.perf_counter()
        (explanation,) = model.explain([text])
        seconds.append(time.perf_counter() - start)
        total = math.fsum(word.weights[name] for word in explanation.words)
        difference = explanation.differences[name]
        errors.append(abs(total - difference) / abs(difference))
        explanations.append(explanation)
    row = {
        "run": model.config.recipe or model.config.model.arch,
        "seconds_median": float(np.median(seconds)),
        "seconds_p90": float(np.quantile(seconds, 0.9)),
        "within_1_percent": float(np.mean(np.array(errors) <= 0.01)),
        "error_median": float(np.median(errors)),
        "deletion": deletion(model, explanations),
    }
    if model.config.model.arch == "lstm":
        row["captum"] = against_captum(model, explanations)
    return row


def main() -> None:
    """Measure each run."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--workdir", type=runner.names(), required=True, help="runs, with commas")
    parser.add_argument("--reviews", type=runner.at_least(1), default=REVIEWS)
    options = parser.parse_args()
    tune_process()
    rows = []
    for workdir in options.workdir:
        rows.append(measure(Path(workdir), options.reviews))
        print(rows[-1], flush=True)
        runner.write(options.json, {"removed": REMOVED, "rows": rows})


if __name__ == "__main__":
    main()
