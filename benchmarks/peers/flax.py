"""Flax: ``flax.linen.RNN`` over ``OptimizedLSTMCell``, jitted."""

from collections.abc import Sequence
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from flax_imdb.data import Examples, Planned
from flax_imdb.devices import select_devices
from peers import ARCHITECTURES, LEARNING_RATE, Contestant, Task, front_padded


class Peer(Contestant):
    """A jitted training step over flax's own recurrent layers."""

    def __init__(self, task: Task):
        self._device = select_devices(task.device)[0]
        self._task = task
        model = _Classifier(task)
        optimizer = optax.adam(LEARNING_RATE)

        def step(state: Any, tokens: jax.Array, labels: jax.Array) -> Any:
            params, opt_state, key = state
            key, dropout_key = jax.random.split(key)

            def mean_loss(params: Any) -> jax.Array:
                logits = model.apply(params, tokens, rngs={"dropout": dropout_key})
                return optax.sigmoid_binary_cross_entropy(logits, labels).mean()

            grads = jax.grad(mean_loss)(params)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, key

        with jax.default_device(self._device):
            key = jax.random.key(7)
            rngs = {"params": key, "dropout": key}
            params = jax.jit(model.init)(rngs, jnp.zeros((1, 8), jnp.int32))
            self._state = jax.device_put((params, optimizer.init(params), key), self._device)
        self._step = jax.jit(step, donate_argnums=0)

    def versions(self) -> dict[str, str]:
        """Of flax and jax."""
        return {"flax": flax.__version__, "jax": jax.__version__}

    def load(self, examples: Examples, plan: Sequence[Planned]) -> None:
        """Make the batches, on the device."""
        self._batches = jax.device_put(front_padded(self._task, examples, plan), self._device)

    def train(self) -> None:
        """Train one step on each batch."""
        for tokens, labels in self._batches:
            self._state = self._step(self._state, tokens, labels)
        jax.block_until_ready(self._state)


class _Classifier(nn.Module):
    task: Task

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        task, arch = self.task, ARCHITECTURES[self.task.arch]
        dropout = nn.Dropout(arch.dropout, deterministic=False)
        x = dropout(nn.Embed(task.vocab_size, task.embedding_features)(tokens))
        if arch.conv:
            x = nn.relu(nn.Conv(32, (3,))(x))
            x = nn.max_pool(x, (2,), (2,))
        forward = nn.RNN(nn.OptimizedLSTMCell(task.features), return_carry=True)
        if arch.bidirectional:
            backward = nn.RNN(nn.OptimizedLSTMCell(task.features))
            carries, _ = nn.Bidirectional(forward, backward, return_carry=True)(x)
        else:
            carry, _ = forward(x, reverse=arch.reverse)
            carries = (carry,)
        return nn.Dense(1)(dropout(jnp.concatenate([h for _, h in carries], axis=-1)))
