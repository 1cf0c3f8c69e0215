"""Whether what was written answers as the model does."""

from pathlib import Path

import numpy as np
import pytest
from untrained import MAX_LENGTH, STANDARDIZER, untrained, untrained_on_sequences

from flax_imdb.data.tokenizer import PAD
from flax_imdb.errors import InputError
from flax_imdb.export import onnx
from flax_imdb.export.check import answers_of, check, questions


@pytest.mark.parametrize("padding", ["masked", "keras"])
def test_all_kinds_of_rows_are_asked(padding: str) -> None:
    asked = questions(untrained(padding=padding))
    assert sum(len(tokens) for tokens, _ in asked) == 100
    assert {len(tokens) for tokens, _ in asked} >= {1, 90}
    texts = [tokens[row, : lengths[row]] for tokens, lengths in asked for row in range(len(tokens))]
    if padding == "masked":
        assert {len(text) for text in texts} >= {0, 1, MAX_LENGTH}
    else:
        assert {len(text) for text in texts} == {MAX_LENGTH}
    assert any(len(text) > 1 and (text == PAD).all() for text in texts)


@pytest.mark.parametrize(("padding", "classes"), [("masked", 3), ("keras", 2)])
def test_the_model_answers_as_it_predicts(padding: str, classes: int) -> None:
    model = untrained("bilstm", classes, padding)
    asked = questions(model)[-1]
    encoded = [row[row != PAD] for row in asked.inputs]
    np.testing.assert_allclose(answers_of(model)(*asked), model.predict_encoded(encoded), atol=1e-6)


def test_numeric_sequences_are_asked_at_their_scale() -> None:
    asked = questions(untrained_on_sequences())
    assert sum(len(inputs) for inputs, _ in asked) == 100
    steps = np.concatenate(
        [
            row[:length]
            for inputs, lengths in asked
            for row, length in zip(inputs, lengths, strict=True)
        ]
    )
    np.testing.assert_allclose(steps.mean(axis=0), STANDARDIZER.mean, rtol=0.1, atol=0.3)
    np.testing.assert_allclose(steps.std(axis=0), STANDARDIZER.scale, rtol=0.2)


def test_another_answer_than_the_models_is_an_error(tmp_path: Path) -> None:
    onnx.write(untrained("bilstm"), tmp_path / "model.onnx")
    with pytest.raises(
        InputError, match=r"`format` onnx: what was written answers otherwise .*, by \d\.\de-\d\d"
    ):
        check(untrained("lstm"), "onnx", tmp_path / "model.onnx")


def test_a_file_that_cannot_be_read_again_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"cannot be read again: .*InvalidProtobuf") as raised:
        check(untrained(), "onnx", tmp_path / "model.onnx")
    assert "\n" not in str(raised.value)
