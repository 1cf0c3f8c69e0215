"""A directory as on the Hugging Face Hub, which `flax_imdb.load` reads."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

import flax_imdb
from flax_imdb.config import ExperimentConfig
from flax_imdb.export.check import Answer, answers_of
from flax_imdb.export.tokenizer_json import tokenizer_json
from flax_imdb.exported import CARD, CONFIG, RESULT, SETTINGS, TOKENIZER, VOCABULARY, WEIGHTS
from flax_imdb.models import Classifier
from flax_imdb.predict import TrainedModel, load
from flax_imdb.training import usual_coverages

NEEDS = {"safetensors": "safetensors", "tokenizers": "tokenizers"}


def write(model: TrainedModel, path: Path) -> dict[str, Any]:
    """Write the directory: weights, configuration, vocabulary, tokenizer, result and model card.

    Of a model of numeric sequences there is no tokenizer, and the vocabulary is the statistics of
    the features.
    """
    from safetensors.numpy import save

    path.mkdir(parents=True)
    variables = {"params": model.state.params, "constants": model.state.constants}
    arrays = flatten_dict(jax.tree.map(np.asarray, variables), sep=".")
    # As transformers marks the weights of its Flax models.
    (path / WEIGHTS).write_bytes(save(arrays, metadata={"format": "flax"}))
    texts = {
        CONFIG: json.dumps(_config(model), indent=2, allow_nan=False) + "\n",
        VOCABULARY: model.info.dump(),
        CARD: _card(model),
    }
    if model.info.task.features is None:
        texts[TOKENIZER] = tokenizer_json(model)
    if model.result is not None:
        texts[RESULT] = model.result.dump()
    for name, text in texts.items():
        (path / name).write_text(text, encoding="utf-8")
    return {}


def read(path: Path) -> Answer:
    """Read the directory, and return the function that answers as the model does."""
    return answers_of(load(path))


def _config(model: TrainedModel) -> dict[str, Any]:
    """The content of ``config.json``."""
    classes = model.info.classes
    return {
        "architectures": [Classifier.__name__],
        "model_type": "flax_imdb",
        "id2label": dict(enumerate(classes)),
        "label2id": {name: number for number, name in enumerate(classes)},
        "flax_imdb_version": flax_imdb.__version__,
        **({"problem_type": "multi_label_classification"} if model.info.multi_label else {}),
        "vocabulary": model.info.inputs.fingerprint,
        SETTINGS: dataclasses.asdict(_elsewhere(model.config)),
    }


def _elsewhere(config: ExperimentConfig) -> ExperimentConfig:
    """The configuration without where its files are on this machine, which is nobody's business."""
    data, training = config.data, config.training
    if os.path.isabs(data.dataset):
        data = dataclasses.replace(data, dataset=Path(data.dataset).name)
    if data.test_dataset is not None and os.path.isabs(data.test_dataset):
        data = dataclasses.replace(data, test_dataset=Path(data.test_dataset).name)
    if training.embeddings is not None:
        training = dataclasses.replace(training, embeddings=Path(training.embeddings).name)
    data = dataclasses.replace(data, data_dir=None)
    start = None if config.init_from is None else Path(config.init_from).name
    return dataclasses.replace(config, data=data, training=training, init_from=start)


def _card(model: TrainedModel) -> str:
    """The model card."""
    import jinja2

    arch, dataset, result = model.config.model.arch, model.info.name, model.result
    note = "" if result is None else result.note
    if not note and dataset == "synthetic":
        note = "It was trained on synthetic reviews: it knows nothing."
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    # YAML does not join the surrogates that JSON may have for an emoji.
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    template = environment.from_string(
        Path(__file__).with_name("README.md.jinja").read_text("utf-8")
    )
    return template.render(
        name=" ".join(f"{arch} on {dataset}".split()),
        arch=arch,
        dataset=dataset,
        reviews=dataset == "imdb_reviews",
        classes=model.info.classes,
        thresholds=model.info.threshold_of,
        calibrated=len(model.info.conformity),
        coverages=usual_coverages(model.info.conformity),
        features=model.info.task.features,
        units=model.info.units,
        reads=model.config.data.longest,
        end=model.config.data.end,
        result=result,
        note=note,
        version=flax_imdb.__version__,
    )
