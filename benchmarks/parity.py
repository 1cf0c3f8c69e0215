"""How far every implementation of the LSTM is from the reference, `nn.scan` over the cell.

    python benchmarks/parity.py --device gpu --json FILE

Values and gradients by everything that goes in, of random sequences of many lengths, with products
of full float32 precision (``jax_default_matmul_precision="highest"``), with the device's default
(TF32 on recent NVIDIA GPUs) and in bfloat16. The reference is given the same numbers and computes
in full float32 precision. Status 1 where an error is above the tolerance that is stated beside it.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from runner import Parser, names, write

from flax_imdb.errors import UnsupportedError
from flax_imdb.layers import LSTM, Bidirectional, SequenceLayer
from flax_imdb.ops import IMPLEMENTATIONS

BOTH = {"dropout": 0.3, "recurrent_dropout": 0.3}
LAYERS: dict[str, dict[str, Any]] = {
    "forward": {},
    "reverse, last output": {"reverse": True, "return_sequences": False},
    "input dropout": {"dropout": 0.3},
    "recurrent dropout": BOTH,
    "both directions": {"bidirectional": True},
    "both directions, recurrent dropout": {"bidirectional": True, **BOTH},
}

# The largest error of an element over the largest element of its array (or 1).
TOLERANCES = {"highest": 2e-5, "default": 2e-2, "bfloat16": 5e-2}


def problem(
    batch: int = 4, time: int = 9, in_features: int = 3, features: int = 5, dtype: Any = jnp.float32
) -> tuple[Any, Any, Any, Any]:
    """Random parameters, inputs, initial carry, and lengths from 0 to `time`."""
    rng = np.random.default_rng(0)

    def normal(*shape: int, scale: float = 0.5) -> jax.Array:
        return jnp.asarray(rng.normal(0, scale, shape), dtype)

    params = {
        "kernel": normal(in_features, 4 * features),
        "recurrent_kernel": normal(features, 4 * features, scale=min(0.5, features**-0.5)),
        "bias": normal(4 * features),
    }
    lengths = jnp.asarray(np.linspace(time, 0, batch).round(), jnp.int32)
    carry_dtype = jnp.promote_types(dtype, jnp.float32)
    carry = tuple(normal(batch, features).astype(carry_dtype) for _ in range(2))
    return params, normal(batch, time, in_features), carry, lengths


def run(
    implementation: str,
    params: Any,
    x: Any,
    carry: Any,
    lengths: Any,
    *,
    bidirectional: bool = False,
    **options: Any,
) -> Any:
    """Final carry and outputs of an LSTM, or of two with the same parameters and first carry."""
    features = params["bias"].shape[0] // 4
    layer: SequenceLayer
    layer = lstm = LSTM(features, implementation=implementation, return_carry=True, **options)
    params = {"cell": params}
    if bidirectional:
        layer = Bidirectional(lstm)
        params, carry = {"forward": params, "backward": params}, (carry, carry)
    return layer.apply(
        {"params": params},
        x,
        seq_lengths=lengths,
        initial_carry=carry,
        deterministic=False,
        rngs={"dropout": jax.random.key(1)},
    )


def values_and_gradients(implementation: str, problem: Any, **layer: Any) -> Any:
    """Of a loss that looks at everything that comes out, by everything that goes in."""
    params, x, carry, lengths = problem

    def loss(params: Any, x: Any, carry: Any, lengths: Any) -> Any:
        results = run(implementation, params, x, carry, lengths, **layer)
        leaves = jax.tree.leaves(results)
        keys = jax.random.split(jax.random.key(2), len(leaves))
        weights = [jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)]
        terms = (jnp.sum(w * a.astype(w.dtype)) for w, a in zip(weights, leaves, strict=True))
        return sum(terms), results

    gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    return gradients(params, x, carry, lengths)


def error(ours: Any, reference: Any) -> float:
    """The largest of an element, over the largest element of its array (or 1)."""

    def of(one: jax.Array, other: jax.Array) -> float:
        a, b = (np.asarray(array, np.float64) for array in (one, other))
        return float(np.max(np.abs(a - b), initial=0) / max(1, np.max(np.abs(b), initial=0)))

    # Not Python's max, which may overlook what is no number.
    return float(np.max(jax.tree.leaves(jax.tree.map(of, ours, reference)), initial=0))


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each layer, precision and implementation."""
    rows = []
    for precision in TOLERANCES:
        dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
        given = problem(options.batch_size, options.time, 32, options.features, dtype)
        *numbers, lengths = given
        exact = (*jax.tree.map(lambda array: array.astype(jnp.float32), numbers), lengths)
        for name, layer in LAYERS.items():
            with jax.default_matmul_precision("highest"):
                reference = values_and_gradients("scan", exact, **layer)
            layer = {**layer, "param_dtype": dtype}
            for implementation in options.implementations:
                row = {"implementation": implementation, "layer": name, "precision": precision}
                try:
                    with jax.default_matmul_precision(
                        "highest" if precision == "highest" else None
                    ):
                        ours = values_and_gradients(implementation, given, **layer)
                except UnsupportedError as refusal:
                    rows.append({**row, "refused": str(refusal)})
                    continue
                (_, values), gradients = ours
                (_, expected), expected_gradients = reference
                rows.append(
                    {
                        **row,
                        "value_error": error(values, expected),
                        "gradient_error": error(gradients, expected_gradients),
                        # What the reference itself loses in a precision is only shown.
                        "tolerance": None if implementation == "scan" else TOLERANCES[precision],
                    }
                )
                print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print and write; returns the exit status."""
    parser = Parser(__doc__)
    parser.add_argument("--device", choices=("cpu", "gpu", "tpu"), default="cpu")
    others = ",".join(name for name in IMPLEMENTATIONS if name != "auto")
    parser.add_argument("--implementations", type=names(*IMPLEMENTATIONS), default=others)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--time", type=int, default=500)
    parser.add_argument("--features", type=int, default=100)
    options = parser.parse_args(arguments)
    (device, *_) = jax.devices(options.device)
    with jax.default_device(device):
        rows = compare(options)
    results = {
        "device_kind": device.device_kind,
        "platform": device.client.platform_version,
        **{name: getattr(options, name) for name in ("batch_size", "time", "features")},
        "rows": rows,
    }
    write(options.json, results)
    worse = [
        row
        for row in rows
        if row.get("tolerance") is not None
        and not all(row[name] <= row["tolerance"] for name in ("value_error", "gradient_error"))
    ]
    for row in worse:
        print(f"above the tolerance: {row}")
    return 1 if worse else 0


if __name__ == "__main__":
    raise SystemExit(main())
