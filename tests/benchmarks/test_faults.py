"""The suite of faults that docs/reliability.md reports on, in small."""

import signal

import faults
import pytest


@pytest.mark.long
def test_runs_ended_at_a_random_moment_resume_to_the_same_bits() -> None:
    for outcome in faults.kills({signal.SIGKILL: 2, signal.SIGTERM: 1}, seed=1):
        count = outcome["count"]
        assert (outcome["resumed"], outcome["equal"], outcome["tracebacks"]) == (count, count, 0)
        assert outcome["statuses"].keys() <= {"-9", "-15", "143", "0"}


@pytest.mark.long
def test_jobs_that_lose_a_process_at_a_random_moment_resume_to_the_same_results() -> None:
    (killed,) = faults.jobs(1, seed=1)
    assert killed["wrong"] == []
    assert (killed["resumed"], killed["same"]) == (1, 1)
    assert killed["statuses"].keys() <= {"0", "1"}


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (134, "*** Check failure stack trace: ***"),
        (1, "Traceback (most recent call last):\nValueError: UNKNOWN: Gloo AllGather failed"),
        (1, ""),
        (1, 2 * "error: another process has ended or cannot be reached: it is gone\n"),
        (2, "error: another process has ended or cannot be reached: it is gone"),
        (2, "error: --coordinator a:1: not all processes met there"),
        (0, ""),
        (None, ""),
    ],
)
def test_a_wrong_ending_of_a_job_is_seen(status: int | None, errors: str) -> None:
    assert not faults._ended_well(status, errors, finished=False, starting=False)


@pytest.mark.long
def test_damaged_checkpoints_are_refused_and_an_older_one_is_resumed() -> None:
    for kind, outcome in faults.damages(10, seed=1)["kinds"].items():
        expected = {"count": 2, "refused": 2, "resumed from an older one": 2}
        assert outcome == expected, kind


@pytest.mark.long
def test_hostile_texts_are_predicted_or_refused_with_a_reason() -> None:
    outcome = faults.texts(120, seed=1)
    assert outcome["predicted"] + outcome["unreadable, with a reason"] == 120
    assert outcome["lines answered"] == outcome["lines"]
    assert outcome["tracebacks"] == 0
    for name in ("same ids after saving", "evaluated alike", "predicted alike", "probabilities"):
        assert outcome[name], name
    assert outcome["lines answered alike"]


@pytest.mark.long
def test_a_long_run_ends_well_and_its_memory_is_sampled() -> None:
    outcome = faults.memory(120, checkpoint_steps=50)
    assert outcome["status"] == 0
    assert outcome["steps"] == 120
    assert all(sample["mb"] > 0 for sample in outcome["resident_mb"])


def test_failures_name_each_fault_that_went_wrong() -> None:
    killed = {"signal": "SIGKILL", "count": 3, "resumed": 3, "equal": 2, "tracebacks": 0}
    texts = dict.fromkeys(("same ids after saving", "evaluated alike", "predicted alike"), True)
    texts |= {"probabilities": True, "lines answered alike": False, "tracebacks": 0}
    results = {
        "kills": [killed],
        "jobs": [killed | {"processes": 2, "wrong": ["job 1: status 134"], "same": 1}],
        "damages": {"kinds": {"a bit flipped": {"count": 2, "refused": 1}}},
        "texts": texts | {"lines": 5, "lines answered": 5},
        "memory": [{"steps": 10, "status": 1}],
    }
    assert faults.failures(results) == [
        "SIGKILL: 2 of 3 equal",
        "job 1: status 134",
        "SIGKILL, 2 processes: 1 of 3 same",
        "a bit flipped: 1 of 2 refused",
        "a bit flipped: 0 of 2 resumed from an older one",
        "texts: not lines answered alike",
        "a run of 10 steps ended with status 1",
    ]
