"""The share of a host that each process of a run takes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flax_imdb.host import Place, contended_gpus, here, share_of_cpus, share_of_gpus

FOUR = frozenset(range(4))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


class TestHere:
    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
    def test_a_process_has_the_cpus_that_it_is_bound_to(self) -> None:
        allowed = os.sched_getaffinity(0)
        one = {min(allowed)}
        try:
            os.sched_setaffinity(0, one)
            assert here({}).cpus == one
        finally:
            os.sched_setaffinity(0, allowed)
        assert here({}).cpus == allowed

    @pytest.mark.parametrize(
        ("files", "quotas"),
        [
            ({"proc/self/cgroup": "0::/a/b\n"}, []),
            ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, []),
            (
                {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"},
                [1.5],
            ),
            (  # In a container, the host's path.
                {"proc/self/cgroup": "0::/far/away\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"},
                [2],
            ),
            (
                {
                    "proc/self/cgroup": "3:memory:/a\n2:cpu,cpuacct:/a\n0::/\n",
                    "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "50000\n",
                    "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
                    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                },
                [0.5],
            ),
        ],
    )
    def test_quotas_of_control_groups_are_found(
        self, tmp_path: Path, files: dict[str, str], quotas: list[float]
    ) -> None:
        assert list(here({}, write(tmp_path, files)).pools.values()) == quotas

    def test_slurm_says_what_it_has_given(self, tmp_path: Path) -> None:
        job = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_CPUS_ON_NODE": "6"}
        place = here({**job, "SLURM_CPUS_PER_TASK": "3"}, tmp_path)
        assert list(place.pools.values()) == [6]
        assert place.own_cpus == 3
        assert (
            here({"SLURM_CPUS_PER_TASK": "3"}, tmp_path).own_cpus is None
        )  # A setting for sbatch.

    def test_gpus_are_those_that_are_visible(self, tmp_path: Path) -> None:
        assert here({}, tmp_path).gpus is None
        assert here({"CUDA_VISIBLE_DEVICES": "2,5"}, tmp_path).gpus == ("2", "5")
        assert here({"CUDA_VISIBLE_DEVICES": ""}, tmp_path).gpus == ()
        for bus in ("0000:02:00.0", "0000:01:00.0"):
            (tmp_path / "proc/driver/nvidia/gpus" / bus).mkdir(parents=True)
        assert here({}, tmp_path).gpus == ("0000:01:00.0", "0000:02:00.0")


class TestCpus:
    @pytest.mark.parametrize(
        ("places", "shares"),
        [
            ([Place("a", FOUR)], [4]),
            ([Place("a", FOUR)] * 2, [2, 2]),
            ([Place("a", FOUR), Place("b", FOUR)], [4, 4]),
            ([Place("a", frozenset({0, 1})), Place("a", frozenset({2, 3}))], [2, 2]),
            ([Place("a", FOUR), Place("a", frozenset({0}))], [3.5, 0.5]),
            ([Place("a", FOUR, {"cgroup": 3.0})] * 2, [1.5, 1.5]),
            ([Place("a", FOUR, {"one": 1.0}), Place("a", FOUR, {"two": 8.0})], [1, 2]),
            ([Place("a", FOUR, own_cpus=1)] * 2, [1, 1]),
        ],
    )
    def test_processes_share_what_both_may_use(
        self, places: list[Place], shares: list[float]
    ) -> None:
        assert [share_of_cpus(place, places) for place in places] == shares

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.frozensets(st.integers(0, 7), min_size=1))))
    def test_no_cpu_is_given_twice(self, of: list[tuple[str, frozenset[int]]]) -> None:
        places = [Place(name, cpus) for name, cpus in of]
        for name in "ab":
            beside = [place for place in places if place.host == name]
            there_are = set().union(*(place.cpus for place in beside))
            given = sum(share_of_cpus(place, places) for place in beside)
            assert given == pytest.approx(len(there_are))


class TestGpus:
    @pytest.mark.parametrize(
        ("gpus", "shares"),
        [
            ([("0", "1", "2", "3")], [None]),  # One process uses all.
            ([("0", "1", "2", "3")] * 4, [[0], [1], [2], [3]]),
            ([("0", "1", "2", "3")] * 2, [[0, 1], [2, 3]]),
            ([("0", "1", "2")] * 2, [[0], [1]]),
            ([("0",), ("1",)], [None, None]),  # Each sees its own.
            ([("0",), ("0",)], [None, None]),
            ([None, None], [[0], [1]]),
        ],
    )
    def test_processes_of_a_host_share_what_they_see(
        self, gpus: list[tuple[str, ...] | None], shares: list[list[int] | None]
    ) -> None:
        places = [Place("a", FOUR, gpus=seen) for seen in gpus]
        places.insert(0, Place("b", FOUR, gpus=gpus[0]))
        assert [share_of_gpus(number, places) for number in range(len(places))] == [None, *shares]

    def test_processes_that_see_too_few_are_found(self) -> None:
        two, three = ("0", "1"), ("0", "1", "2")
        places = [Place("a", FOUR, gpus=two)] * 3 + [Place("b", FOUR, gpus=three)] * 3
        assert list(contended_gpus(places)) == [(3, 2)]
        assert list(contended_gpus([Place("a", FOUR)] * 2)) == []

    def test_tasks_that_slurm_gives_a_gpu_each_have_their_own(self, tmp_path: Path) -> None:
        """In a control group of its own each of them counts from 0."""
        tasks = [
            here({"SLURM_GPUS_PER_TASK": "1", "SLURM_LOCALID": n, "CUDA_VISIBLE_DEVICES": "0"})
            for n in "01"
        ]
        assert list(contended_gpus(tasks)) == []
        assert [share_of_gpus(number, tasks) for number in (0, 1)] == [None, None]

    @pytest.mark.parametrize("bind", ["none", "verbose,none"])
    def test_tasks_that_slurm_does_not_bind_share_what_they_see(self, bind: str) -> None:
        tasks = [
            here({"SLURM_GPU_BIND": bind, "SLURM_LOCALID": n, "CUDA_VISIBLE_DEVICES": "0,1"})
            for n in "01"
        ]
        assert [share_of_gpus(number, tasks) for number in (0, 1)] == [[0], [1]]
