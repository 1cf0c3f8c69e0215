"""The training step for accelerators that are not here: it is translated for them, if not run."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, NamedSharding, PartitionSpec

from flax_imdb import models
from flax_imdb.data import Batch
from flax_imdb.layers import LSTM, Bidirectional
from flax_imdb.training import TrainState, create_state, train_step
from flax_imdb.training.parallel import ShardedTrainStep

ACCELERATORS = ["tpu", "cuda"]


def tutorial_size(arch: str, **settings: Any) -> tuple[TrainState, Batch]:
    """Shapes of a state and a batch."""
    config = models.ModelConfig(arch, **settings)
    model = models.build(config, vocab_size=5000)
    state = jax.eval_shape(lambda: create_state(model, learning_rate=1e-3, seed=0))
    shapes = {
        "tokens": ((64, 500), jnp.int32),
        **dict.fromkeys(("lengths", "labels", "example_ids"), ((64,), jnp.int32)),
        "weights": ((64,), jnp.float32),
    }
    batch: Any = {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}
    return state, batch


@pytest.mark.parametrize("arch", models.ARCHITECTURES)
def test_every_architecture_is_translated_for_each_accelerator(arch: str) -> None:
    """No call back into Python, no computation that a platform has not."""
    state, batch = tutorial_size(arch)
    exported = jax.export.export(jax.jit(train_step), platforms=ACCELERATORS)(state, batch)
    assert exported.platforms == tuple(ACCELERATORS)
    program = exported.mlir_module()
    assert "callback" not in program
    assert "stablehlo.while" in program  # The time loops are loops.


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_both_directions_are_one_gpu_kernel_in_each_pass(precision: str) -> None:
    """It is translated into a kernel for the forward pass and one for the backward pass."""
    kernel = "__gpu$xla.gpu.triton"
    state, batch = tutorial_size("bilstm", precision=precision)
    layer = LSTM(100, implementation="pallas", dropout=0.2, recurrent_dropout=0.2)
    layer = layer.clone(return_sequences=False, dtype=jnp.dtype(precision))
    state = state.replace(
        apply_fn=models.Classifier(5000, 32, encoder=(Bidirectional(layer),)).apply
    )
    h100 = AbstractDevice("NVIDIA H100", num_cores=None, platform="gpu")
    with jax.sharding.use_abstract_mesh(AbstractMesh((1,), ("batch",), abstract_device=h100)):
        exported = jax.export.export(
            jax.jit(train_step),
            platforms=["cuda"],
            disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(kernel)],
        )(state, batch)
    program = exported.mlir_module()
    assert program.count(f"stablehlo.custom_call @{kernel}") == 2
    assert "stablehlo.while" not in program


@pytest.mark.parametrize("platform", ACCELERATORS)
def test_the_commands_step_with_all_options_is_translated_for_eight_devices(platform: str) -> None:
    state, batch = tutorial_size("bilstm", precision="bfloat16", remat_steps=50)
    mesh = AbstractMesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    step = ShardedTrainStep(mesh, microbatches=2)  # type: ignore[arg-type]
    compiled = jax.jit(
        step.mapped,
        in_shardings=(step.sharding, NamedSharding(mesh, PartitionSpec("batch"))),
        out_shardings=step.sharding,
    )
    exported = jax.export.export(compiled, platforms=[platform])(state, batch)
    assert exported.nr_devices == 8
    assert "bf16" in exported.mlir_module()
