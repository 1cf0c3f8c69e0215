"""What an exported file says of itself, and of how texts become its inputs."""

import datetime
from typing import Any

from flax_imdb.data import Standardizer, Vocabulary
from flax_imdb.data.tokenizer import PAD, SPECIAL_TOKENS, START, UNKNOWN
from flax_imdb.environment import versions
from flax_imdb.predict import TrainedModel


def facts(model: TrainedModel) -> dict[str, Any]:
    """What whoever runs an exported model needs to know, for JSON; see docs/exports.md.

    Its keys: ``arch``; ``classes``, in the order of the probabilities; ``multi_label``, whether an
    example has any number of them, and ``thresholds``, the probabilities above which it has each,
    otherwise empty; ``conformity``, the probability of its own class that each row to calibrate
    with has, ascending, empty if there were none; ``dataset``, that it was trained on;
    ``max_length``, of which longer texts keep the last ids, or the first if ``long`` is ``"head"``;
    ``long``, which with ``"windows"`` makes `max_length` what all windows cover; ``min_time``, to
    which arrays of fewer steps are padded; ``padding``; ``lengths``, what they count; ``created``,
    a date; ``versions``. A format adds to these.

    Of a model of texts they are also ``text``, the name of the rules by which texts are split into
    words; ``vocabulary``, the SHA-256 of the rules and the words; ``pad``, ``start`` and
    ``unknown``, ids; ``words``, in the order of their ids. Of a model of numeric sequences they are
    ``features``, their number, and ``feature_names``, none if they have none.
    """
    info, data = model.info, model.config.data
    numeric = isinstance(info.inputs, Standardizer)
    return {
        "arch": model.config.model.arch,
        "classes": list(info.classes),
        "multi_label": info.multi_label,
        "thresholds": list(info.threshold_of.values()),
        "conformity": list(info.conformity),
        "dataset": info.name,
        "max_length": data.longest,
        "long": data.long,
        "min_time": 1,
        "padding": data.padding,
        "lengths": (
            f"the number of {'steps' if numeric else 'ids'} of each row; behind them it is padded"
            if data.padding == "masked"
            else f"{data.max_length} for each row; before its ids it is padded to so many"
        ),
        "created": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions(),
        **_of_inputs(info.inputs),
    }


def _of_inputs(inputs: Vocabulary | Standardizer) -> dict[str, Any]:
    if isinstance(inputs, Standardizer):
        return {"features": inputs.features, "feature_names": list(inputs.names)}
    return {
        "text": inputs.rules,
        "vocabulary": inputs.fingerprint,
        "pad": PAD,
        "start": START,
        "unknown": UNKNOWN,
        "words": [*SPECIAL_TOKENS, *inputs.words],
    }
