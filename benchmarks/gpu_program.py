"""What an NVIDIA H100 would run for a training step: compiled for one, without one.

    pip install "jax[cuda13]" && python benchmarks/gpu_program.py --json FILE

XLA compiles for a GPU that it is only told of. What it makes says how many kernels a step launches,
how they hang together, what memory they need, and whether this project's own kernels keep to the
registers and the shared memory that there are. It does not say how long any of it takes.
docs/gpu.md shows the results.
"""

import functools
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import runner
from flax import linen as nn
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flax_imdb import models
from flax_imdb.training import create_state, train_step

# An H100 SXM, in XLA's words (its GpuTargetConfigProto).
TARGET = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 8 }
runtime_version { major: 12 minor: 9 }
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132
  clock_rate_ghz: 1.98
  fpus_per_core: 128
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  l2_cache_size: 52428800
  memory_bandwidth: 3352320000000
  device_memory_size: 84978434048
}
"""
TIME, VOCAB = 500, 5000
UNROLL = 10


class Task(NamedTuple):
    """What is compiled.

    Attributes:
      arch: architecture.
      implementation: of the LSTM.
      batch_size: rows in a batch.
      precision: of the products' factors, as ``--precision``.
      features: width of the LSTM.
      products: JAX's default precision of products.
    """

    arch: str
    implementation: str
    batch_size: int = 64
    precision: Any = "float32"
    features: int = 100
    products: str = "default"


IMPLEMENTATIONS = ("scan", f"scan, unrolled by {UNROLL}", "fused", "pallas")
ARCHITECTURES = ("lstm", "lstm_recurrent_dropout", "bilstm", "conv_lstm")

Row = dict[str, Any]


def compile_step(task: Task) -> Any:
    """The training step, compiled for the GPU."""
    batch = task.batch_size
    devices = topologies.get_topology_desc(
        "h100", "cuda", target_config=TARGET, topology="1x1x1"
    ).devices
    mesh = Mesh(devices[:1], ("batch",))
    sharding = NamedSharding(mesh, PartitionSpec())
    config = models.ModelConfig(
        task.arch,
        features=task.features,
        precision=task.precision,
        implementation=task.implementation.split(",")[0],
    )
    model = models.build(config, VOCAB)
    state = jax.eval_shape(lambda: create_state(model, learning_rate=1e-3, seed=0))
    ints = {
        name: jax.ShapeDtypeStruct((batch,), jnp.int32)
        for name in ("lengths", "labels", "example_ids")
    }
    arguments = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        (
            state,
            {
                "tokens": jax.ShapeDtypeStruct((batch, TIME), jnp.int32),
                "weights": jax.ShapeDtypeStruct((batch,), jnp.float32),
                **ints,
            },
        ),
    )
    unroll = UNROLL if "unrolled" in task.implementation else 1
    with (
        jax.default_matmul_precision(None if task.products == "default" else task.products),
        jax.sharding.use_abstract_mesh(mesh.abstract_mesh),  # Tells Pallas of the GPU, too.
        mock.patch.object(nn, "scan", functools.partial(nn.scan, unroll=unroll)),
    ):
        lowered = (
            jax.jit(train_step, donate_argnums=0)
            .trace(*arguments)
            .lower(lowering_platforms=("cuda",))
        )
    return lowered.compile()


def count_kernels(listing: str, trips: list[int]) -> tuple[int, int, list[int]]:
    """Of XLA's listing of what it runs: kernels, launches by the host, kernels of each loop's body.

    What stands in a command buffer (a CUDA graph) is launched at once. A loop is run by the host,
    which launches its condition and its body each time; `trips` has how often, in order.
    """
    times, launches, kernels = [(-1, 1, False)], 0, 0
    bodies: list[int] = []
    left = iter(trips)
    for line in listing.splitlines():
        indent = len(line) - len(line.lstrip())
        words = line.split()
        while times[-1][0] >= indent and words[0] not in ("condition:", "body:"):
            times.pop()
        _, repeats, in_graph = times[-1]
        if words[0] in ("condition:", "body:"):
            continue
        if words[1] == "kWhile":
            if repeats > 1:
                raise ValueError("loops within loops: which repeats how often is not told")
            trip = next(left)
            times.append((indent, repeats * trip, in_graph))
            bodies.append(0)
        elif words[1] == "kCommandBuffer":
            launches += repeats
            times.append((indent, repeats, True))
        else:
            kernels += repeats
            launches += 0 if in_graph else repeats
            if repeats > 1:
                bodies[-1] += 1
    if next(left, None) is not None:
        raise ValueError(f"the listing has fewer loops than {len(trips)}")
    return kernels, launches, bodies


def resources(ptx: Path) -> list[Row]:
    """Registers and spilled bytes of this project's kernels in a file, as `ptxas` compiles them."""
    import nvidia

    (ptxas, *_) = [path for root in nvidia.__path__ for path in Path(root).rglob("bin/ptxas")]
    log = subprocess.run(
        [ptxas, "-v", "-arch=sm_90a", ptx, "-o", os.devnull],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    found = re.findall(
        r"'_(forward|backward)_kernel'.*?(\d+) bytes spill stores.*?Used (\d+) registers",
        log,
        re.DOTALL,
    )
    return [
        {"kernel": name, "registers": int(registers), "spilled_bytes": int(spilled)}
        for name, spilled, registers in found
    ]


def measure(dump: Path, task: Task) -> Row:
    """A row of the results; XLA writes into the directory `dump`."""
    for path in dump.iterdir():
        path.unlink()
    compiled = compile_step(task)
    (listing,) = dump.glob("*train_step*.thunk_sequence_after_thunk_passes.txt")
    trips = re.findall(r'known_trip_count":\{"n":"(\d+)"', compiled.as_text())
    kernels, launches, bodies = count_kernels(listing.read_text(), [int(n) for n in trips])
    shared = dict(
        re.findall(r"_(\w+)_kernel grid:.*shared_memory: (\d+) bytes", listing.read_text())
    )
    own = [
        row | {"shared_memory_bytes": int(shared[row["kernel"]])}
        for path in sorted(dump.glob("*.ptx"))
        if "_kernel_param_0" in path.read_text()
        for row in resources(path)
    ]
    if len(own) != len(shared):
        raise SystemExit("this jaxlib writes no PTX beside its program: that of jax 0.10 does")
    return {
        **task._asdict(),
        "kernels": kernels,
        "host_launches": launches,
        "kernels_in_loops": bodies,
        "loop_steps": [int(n) for n in trips],
        "temporary_mb": 1e-6 * compiled.memory_analysis().temp_size_in_bytes,
        "own_kernels": own,
    }


def main() -> None:
    """Compile, print and write."""
    options = runner.Parser(__doc__).parse_args()
    tasks = [Task(arch, name) for arch in ARCHITECTURES for name in IMPLEMENTATIONS]
    tasks += [Task("lstm", name, batch_size=1024) for name in ("fused", "pallas")]
    tasks += [Task(arch, "pallas", precision="bfloat16") for arch in ("lstm", "bilstm")]
    # The widest, and the most exact.
    tasks.append(Task("lstm_recurrent_dropout", "pallas", features=112))
    tasks.append(Task("lstm_recurrent_dropout", "pallas", precision="bfloat16", features=160))
    tasks.append(Task("lstm_recurrent_dropout", "pallas", products="highest"))
    rows = []
    with tempfile.TemporaryDirectory() as dump:
        # Read when JAX first looks for devices.
        os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # It would want a GPU.
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={dump}"
        for task in tasks:
            rows.append(measure(Path(dump), task))
            print(json.dumps(rows[-1], allow_nan=False))
    target = re.findall(r'description_str: "(.*)"', TARGET)[0]
    runner.write(options.json, {"target": target, "time": TIME, "rows": rows})


if __name__ == "__main__":
    main()
