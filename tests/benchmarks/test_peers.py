"""The contestants of benchmarks/step_time.py: their batches, and who does less work."""

import numpy as np
from peers import PEERS, Task, plan_epoch, same_work

from flax_imdb.data import Examples


def task(arch: str) -> Task:
    return Task(arch, "cpu", batch_size=2, max_length=8, features=4, embedding_features=3)


def test_each_system_batches_as_its_users_do() -> None:
    lengths = [1, 2, 2, 3, 5, 7]
    examples = Examples.build([np.full(n, 4) for n in lengths], np.zeros(len(lengths)))
    times = {
        system: sorted(planned.time for planned in plan_epoch(system, task("lstm"), examples))
        for system in ("flax_imdb", "flax_imdb/scan", *PEERS)
    }
    assert times["keras-tensorflow"] == times["keras-jax"] == [8, 8, 8]
    assert times["torch"] == times["flax"] == [2, 3, 7]
    assert times["flax_imdb"] == times["flax_imdb/scan"] == [2, 4, 8]


def test_what_lacks_recurrent_dropout_does_less_work() -> None:
    assert not same_work("torch", "bilstm")
    assert not same_work("flax", "lstm_recurrent_dropout")
    assert same_work("torch", "conv_lstm_dropout")
    assert same_work("keras-jax", "bilstm")
    assert same_work("flax_imdb/scan", "bilstm")
