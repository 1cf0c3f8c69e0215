"""What happens when things go wrong: runs killed, checkpoints damaged, texts that mean harm.

And runs of several processes of which one is killed or stops answering.

    python benchmarks/faults.py --json FILE

Ends with status 1 where something was lost, loaded although damaged, or crashed.
docs/reliability.md shows the results. It needs nothing but the package: its reviews are few, and
synthetic.
"""

import collections
import concurrent.futures
import contextlib
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import runner
from rich.console import Console

from flax_imdb.config import ExperimentConfig, identity, settings
from flax_imdb.data import DataConfig, DatasetInfo, Vocabulary, split_words
from flax_imdb.data.sources import SPLITS, synthetic
from flax_imdb.data.sources.imdb_folder import LABELS
from flax_imdb.errors import InputError
from flax_imdb.experiment import train
from flax_imdb.models import ModelConfig
from flax_imdb.predict import load, unreadable
from flax_imdb.results import Result
from flax_imdb.training import TrainConfig, TrainState, checksums
from flax_imdb.training.checkpoints import CheckpointConfig, Checkpoints, Identity
from flax_imdb.tuning import tune_process
from flax_imdb.workdir import Workdir

ROOT = Path(__file__).parents[1]
EPOCHS, TRAIN, TEST, BATCH = 3, 128, 64, 8


def write_reviews(directory: Path, **splits: list[str]) -> Path:
    """An ``aclImdb`` folder; every other review is positive."""
    for split, texts in splits.items():
        for label in LABELS:
            (directory / "aclImdb" / split / label).mkdir(parents=True)
        for i, text in enumerate(texts):
            path = directory / "aclImdb" / split / LABELS[i % 2] / f"{i}_5.txt"
            path.write_bytes(text.encode())
    return directory


def few_reviews(directory: Path) -> Path:
    """A folder of synthetic reviews."""
    sizes = dict(zip(SPLITS, (TRAIN, TEST), strict=True))
    texts = {split: synthetic.generate(split, examples=n)[0] for split, n in sizes.items()}
    return write_reviews(directory, **texts)


def experiment(reviews: Path, *, seed: int = 7, epochs: int = EPOCHS) -> ExperimentConfig:
    """An experiment of short steps, each of which can be saved."""
    return ExperimentConfig(
        model=ModelConfig("lstm_dropout", embedding_features=8, features=8),
        data=DataConfig(data_dir=str(reviews), vocab_size=500, max_length=32),
        training=TrainConfig(epochs=epochs, batch_size=BATCH, seed=seed),
    )


def train_in_process(config: ExperimentConfig, workdir: Path, **options: Any) -> Result:
    """Train here, and say nothing."""
    result = train(config, workdir, device="cpu", console=Console(quiet=True), **options)
    assert isinstance(result, Result)
    return result


def command(config: ExperimentConfig, workdir: Path, checkpoint_steps: int = 1) -> list[str]:
    """The command line that trains `config`."""
    given = [
        (f"--{name.replace('_', '-')}", value)
        for name, value in settings(config).items()
        if value not in (None, False)
    ]
    given += [("--workdir", workdir), ("--checkpoint-steps", checkpoint_steps), ("--device", "cpu")]
    args = [str(part) for item in given for part in item]
    return [sys.executable, str(ROOT / "train.py"), *args]


def digest(state: TrainState) -> str:
    """Of every bit of a state that is saved."""
    sha256 = hashlib.sha256()
    for leaf in jax.tree.leaves((state.step, state.params, state.opt_state)):
        sha256.update(np.asarray(leaf).tobytes())
    return sha256.hexdigest()


def untimed(workdir: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    """The metrics of a run's epochs, or steps, without what differs from run to run."""
    timed = {"seconds", "compile_seconds", "step_ms_median", "examples_per_second", "step_ms"}
    lines = [json.loads(line) for line in (workdir / name).open()]
    return [{name: line[name] for name in line.keys() - timed} for line in lines]


def ending(workdir: Path) -> tuple[str, list[Any], float]:
    """All that a finished run came to but the times: bits, metrics of the epochs, loss."""
    result = json.loads((workdir / "result.json").read_text())
    metrics = [*untimed(workdir), *untimed(workdir, "steps.jsonl")]
    return digest(load(workdir, "cpu").state), metrics, result["test_loss"]


def phase(workdir: Path) -> str:
    """What a run that was killed was about, by what it left."""
    if (workdir / "result.json").exists():
        return "finished"
    if not (workdir / "vocabulary.json").exists():
        return "starting"
    left = list((workdir / "checkpoints").iterdir())
    if any(not path.name.isdecimal() or not (path / checksums.NAME).exists() for path in left):
        return "saving"
    return "training"


def never_stopped(base: Path) -> tuple[ExperimentConfig, float]:
    """An experiment whose run in ``base/reference`` nothing disturbed, and its seconds."""
    config = experiment(few_reviews(base / "reviews"))
    start = time.monotonic()
    subprocess.run(command(config, base / "reference"), check=True, capture_output=True)
    return config, time.monotonic() - start


def kills(counts: dict[signal.Signals, int], seed: int = 0) -> list[dict[str, Any]]:
    """Send each signal to so many runs at random moments, resume each, compare how they end."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        config, duration = never_stopped(base)
        expected = ending(base / "reference")

        def trial(number: signal.Signals, n: int) -> dict[str, Any]:
            rng = random.Random(f"{seed} {number} {n}")
            workdir = base / f"{number.name}-{n}"
            args = command(config, workdir)
            process = subprocess.Popen(
                args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            if n % 10:  # Every tenth at any moment, the others once it trains.
                while not (workdir / "vocabulary.json").exists() and process.poll() is None:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0, duration / 2))
            else:
                time.sleep(rng.uniform(0, duration))
            sent = time.monotonic()
            process.send_signal(number)
            _, errors = process.communicate()
            outcome = {
                "phase": phase(workdir),
                "seconds": time.monotonic() - sent,
                "status": process.returncode,
                # Python's own, before the first line of the program, is not the program's.
                "traceback": "Traceback" in errors and "init_import_site" not in errors,
            }
            again = subprocess.run([*args, "--resume"], capture_output=True, text=True, check=False)
            outcome["resumed"] = again.returncode == 0
            if again.returncode:
                print(again.stderr, file=sys.stderr)
            return outcome

        results = []
        for number, count in counts.items():
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                outcomes = list(pool.map(trial, [number] * count, range(count)))
            for n, outcome in enumerate(outcomes):
                workdir = base / f"{number.name}-{n}"
                outcome["equal"] = outcome["resumed"] and ending(workdir) == expected
            results.append({"signal": number.name, "count": count, **_summary(outcomes)})
    return results


def _summary(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    phases = collections.Counter(outcome["phase"] for outcome in outcomes)
    statuses = collections.Counter(str(outcome["status"]) for outcome in outcomes)
    return {
        "phases": dict(sorted(phases.items())),
        "statuses": dict(sorted(statuses.items())),
        "seconds_median": statistics.median(outcome["seconds"] for outcome in outcomes),
        "seconds_max": max(outcome["seconds"] for outcome in outcomes),
        "resumed": sum(outcome["resumed"] for outcome in outcomes),
        "equal": sum(outcome["equal"] for outcome in outcomes),
        "tracebacks": sum(outcome["traceback"] for outcome in outcomes),
    }


# Seconds that the processes of a job wait for one another, and that the docs allow them in all,
# with as much again for a machine on which several jobs run at once.
JOB_TIMEOUT, JOB_LIMIT = 10, 25

# What must not be in a survivor's standard error.
_CRASHES = ("Traceback", "stack trace", "terminate called", "Fatal Python error")


def jobs(count: int, seed: int = 0, at_once: int = 3) -> list[dict[str, Any]]:
    """Kill or freeze one process of so many jobs of two and three; see how the others end.

    Then resume each, by as many processes or by one, and compare its losses with those of a run of
    one process that was never stopped.
    """
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        config, duration = never_stopped(base)
        expected = _losses(base / "reference")

        def trial(n: int) -> dict[str, Any]:
            rng = random.Random(f"{seed} jobs {n}")
            number, workdir = 2 + n % 2, base / f"job-{n}"
            fault = (signal.SIGKILL, signal.SIGSTOP)[n % 4 in (1, 2)]
            with _job(config, workdir, number) as processes:
                when = ("training", "ending", "training", "starting")[n // 4 % 4]
                _await(when, workdir, processes)
                time.sleep(rng.uniform(0, duration / 8 if when == "ending" else duration / 2))
                victim = rng.randrange(number)
                at = phase(workdir)
                processes[victim].send_signal(fault)
                seconds = _seconds_to_end([p for p in processes if p is not processes[victim]])
                ends = [process.poll() for process in processes]
            finished = (workdir / "result.json").exists()
            wrong = []
            for i in set(range(number)) - {victim}:
                said = workdir.with_name(f"{workdir.name}-{i}.stderr").read_text()
                if not _ended_well(ends[i], said, finished=finished, starting=at == "starting"):
                    wrong.append(
                        f"job {n}: process {i} of {number}, {fault.name} to {victim} while {at}: "
                        f"status {ends[i]}: {said}"
                    )
            resumed = _resume(config, workdir, number if n // 2 % 2 else 1)
            if resumed:
                wrong.append(f"job {n} cannot be resumed: {resumed}")
            del ends[victim]
            return {
                "signal": fault.name,
                "processes": number,
                "phase": at,
                "ends": ["still running" if end is None else str(end) for end in ends],
                "seconds": seconds,
                "wrong": wrong,
                "resumed": not resumed,
                "same": not resumed and bool(np.allclose(_losses(workdir), expected, rtol=1e-3)),
            }

        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            outcomes = list(pool.map(trial, range(count)))
    kinds = sorted({(outcome["signal"], outcome["processes"]) for outcome in outcomes})
    return [
        _summary_of_jobs([o for o in outcomes if (o["signal"], o["processes"]) == kind])
        for kind in kinds
    ]


def _await(when: str, workdir: Path, processes: list[subprocess.Popen[bytes]]) -> None:
    """Until the job begins to train, or until its last epoch is over."""
    awaited = {"training": ("vocabulary.json", 1), "ending": ("metrics.jsonl", EPOCHS)}
    if when in awaited:
        name, lines = awaited[when]
        while _line_count(workdir / name) < lines and _running(processes):
            time.sleep(0.01)


def _seconds_to_end(survivors: list[subprocess.Popen[bytes]]) -> list[float]:
    """How long each process that still runs takes to end, up to the limit."""
    start = time.monotonic()
    running = [process for process in survivors if process.poll() is None]
    seconds = dict.fromkeys(running, 0.0)
    while any(process.poll() is None for process in running) and max(seconds.values()) < JOB_LIMIT:
        for process in running:
            if process.poll() is None:
                seconds[process] = time.monotonic() - start
        time.sleep(0.02)
    return list(seconds.values())


@contextlib.contextmanager
def _job(
    config: ExperimentConfig, workdir: Path, number: int, *more: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of one run; their standard error goes to files beside the workdir."""
    with contextlib.ExitStack() as stack:
        # Bound here until the job has ended, though not listened at, so that no other job gets it.
        port = stack.enter_context(socket.socket(socket.AF_INET6))
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            port.setsockopt(socket.SOL_SOCKET, option, 1)
        port.bind(("::", 0))
        address = f"127.0.0.1:{port.getsockname()[1]}"
        processes = []
        for i in range(number):
            path = workdir.with_name(f"{workdir.name}-{i}.stderr")
            together = ("--coordinator", address, "--num-processes", number, "--process-id", i)
            process = subprocess.Popen(
                [
                    *command(config, workdir),
                    *map(str, together),
                    *("--timeout", str(JOB_TIMEOUT), *more),
                ],
                stdout=subprocess.DEVNULL,
                stderr=stack.enter_context(path.open("wb")),
            )
            processes.append(process)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield processes


def _running(processes: list[subprocess.Popen[bytes]]) -> bool:
    return all(process.poll() is None for process in processes)


def _line_count(path: Path) -> int:
    """0 where there is no file."""
    with contextlib.suppress(FileNotFoundError):
        return len(path.read_bytes().splitlines())
    return 0


def _ended_well(status: int | None, errors: str, *, finished: bool, starting: bool) -> bool:
    """Whether a process ended as it must when another one is lost."""
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    if any(crash in errors for crash in _CRASHES):
        return False
    if status == 0:
        return finished and not said
    expected = {1: "error: another process has ended or cannot be reached: "}
    if starting:
        expected[2] = "error: not all processes met at "
    return len(said) == 1 and status in expected and said[0].startswith(expected[status])


def _resume(config: ExperimentConfig, workdir: Path, number: int) -> str:
    """Go on with a job's run, by so many processes; what went wrong."""
    if number == 1:
        args = [*command(config, workdir), "--resume"]
        again = subprocess.run(args, capture_output=True, text=True, check=False)
        return again.stderr or str(again.returncode) if again.returncode else ""
    with _job(config, workdir, number, "--resume") as processes:
        statuses = [process.wait() for process in processes]
    texts = [workdir.with_name(f"{workdir.name}-{i}.stderr").read_text() for i in range(number)]
    return f"{statuses}: {' '.join(texts)}" if any(statuses) else ""


def _losses(workdir: Path) -> list[list[float]]:
    """Of each epoch of a finished run."""
    names = ("train_loss", "eval_loss")
    return [[line[name] for name in names] for line in untimed(workdir)]


def _summary_of_jobs(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    phases = collections.Counter(outcome["phase"] for outcome in outcomes)
    statuses = collections.Counter(end for outcome in outcomes for end in outcome["ends"])
    seconds = [second for outcome in outcomes for second in outcome["seconds"]] or [0.0]
    return {
        "signal": outcomes[0]["signal"],
        "processes": outcomes[0]["processes"],
        "count": len(outcomes),
        "phases": dict(sorted(phases.items())),
        "statuses": dict(sorted(statuses.items())),
        "seconds_median": statistics.median(seconds),
        "seconds_max": max(seconds),
        "resumed": sum(outcome["resumed"] for outcome in outcomes),
        "same": sum(outcome["same"] for outcome in outcomes),
        "wrong": [wrong for outcome in outcomes for wrong in outcome["wrong"]],
    }


def _pick_file(rng: random.Random, checkpoint: Path) -> Path:
    """Of the files, the larger the likelier, but each has a chance."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    return rng.choices(files, [1 + path.stat().st_size / 1000 for path in files])[0]


def _flip(rng: random.Random, checkpoint: Path, others: list[Path]) -> None:
    path = _pick_file(rng, checkpoint)
    content = bytearray(path.read_bytes())
    if not content:
        return _flip(rng, checkpoint, others)
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return None


def _cut(rng: random.Random, checkpoint: Path, others: list[Path]) -> None:
    path = _pick_file(rng, checkpoint)
    if not path.stat().st_size:
        return _cut(rng, checkpoint, others)
    os.truncate(path, rng.randrange(path.stat().st_size))
    return None


def _remove(rng: random.Random, checkpoint: Path, others: list[Path]) -> None:
    _pick_file(rng, checkpoint).unlink()


def _swap_file(rng: random.Random, checkpoint: Path, others: list[Path]) -> None:
    """Put a file of another checkpoint, of this run or of another one, in the place of one."""
    path = _pick_file(rng, checkpoint)
    other = rng.choice(others) / path.relative_to(checkpoint)
    if not other.exists():  # Those of arrays have random names.
        other = _pick_file(rng, rng.choice(others))
    if other.read_bytes() == path.read_bytes():
        return _swap_file(rng, checkpoint, others)
    shutil.copy(other, path)
    return None


def _swap_checkpoint(rng: random.Random, checkpoint: Path, others: list[Path]) -> None:
    """Put another checkpoint, whole as it is, in its place."""
    shutil.rmtree(checkpoint)
    shutil.copytree(rng.choice(others), checkpoint)


DAMAGES: dict[str, Callable[[random.Random, Path, list[Path]], None]] = {
    "a bit flipped": _flip,
    "a file cut": _cut,
    "a file removed": _remove,
    "a file of another checkpoint": _swap_file,
    "another checkpoint, whole": _swap_checkpoint,
}


def damages(count: int, seed: int = 0) -> dict[str, Any]:
    """Damage a finished run's newest checkpoint in so many ways; load it, and resume."""
    kinds: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in DAMAGES}
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        reviews = few_reviews(base / "reviews")
        saving = CheckpointConfig(checkpoint_steps=5, keep_checkpoints=3)
        for seed_of_run in (7, 8):
            config = experiment(reviews, seed=seed_of_run)
            train_in_process(config, base / str(seed_of_run), checkpoints=saving)
        config, original = experiment(reviews), Workdir(base / "7")
        info = original.dataset_info()
        assert info is not None
        same = Identity(
            identity(original.config() or config), info.fingerprint, info.vocabulary.words
        )
        steps = sorted(int(path.name) for path in original.checkpoints.glob("[0-9]*"))
        newest = steps[-1]
        template = config.create_state()
        true: dict[int, str] = {}
        undamaged = base / "undamaged"
        shutil.copytree(original.checkpoints, undamaged)
        for step in reversed(steps[1:]):  # What each of them holds, but for the oldest.
            with Checkpoints(undamaged, same, read_only=True) as checkpoints:
                true[step] = digest(checkpoints.resume(template, EPOCHS).state)
            shutil.rmtree(undamaged / str(step))
        others = [original.checkpoints / str(step) for step in steps[:-1]]
        others += list((base / "8" / "checkpoints").glob("[0-9]*"))

        for n in range(count):
            rng = random.Random(f"{seed} {n}")
            name = list(DAMAGES)[n % len(DAMAGES)]
            workdir = base / f"damaged-{n}"
            shutil.copytree(original.path, workdir)
            DAMAGES[name](rng, workdir / "checkpoints" / str(newest), others)
            outcome = kinds[name]
            outcome["count"] += 1
            try:
                load(workdir, "cpu")
            except InputError as error:
                outcome["refused"] += str(newest) in str(error) and "\n" not in str(error)
            with Checkpoints(workdir / "checkpoints", same) as checkpoints:
                restored = checkpoints.resume(template, EPOCHS)
            state = restored.state
            older = int(state.step) < newest and digest(state) == true[int(state.step)]
            outcome["resumed from an older one"] += older and len(restored.refused) == 1
            shutil.rmtree(workdir)
    return {"count": count, "kinds": {name: dict(outcome) for name, outcome in kinds.items()}}


_TRAPS = (
    *("", " ", "\t\n\r\v\f\x1c\x85\u2028\u2029\xa0\u3000", "\0", "\0a\0", "<br />", "<br<br />/>"),
    *("İstanbul ẞ ß ﬁ ŉ ǰ", "[bold]x[/bold]", "{0} {x} %s %n", "../../etc/passwd", '"}],[{"a":'),
    *(
        "\u202e dlrow \u2066olleh\u2069",
        "مرحبا بالعالم שלום",
        "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪",
        "e\u0301" * 9,
    ),
    *(
        "\ufeff\ufffe\uffff",
        "\x1b[31m\x07\x08",
        "<pad> <start> <unk>",
        "don't 'quote' it''s",
        "\U0001d573\U0001d58a",
    ),
    *("\ud800", "\udfff\ud800", "caf\udce9", "nan inf -0 1e309 ٣ ⅷ ²", "'" * 500, "x\u0300" * 300),
)


def hostile_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of characters from anywhere in Unicode, and of traps; two of 10 MB without a space."""
    rng = random.Random(f"texts {seed}")
    ranges = ((0, 0x20), (0x20, 0x7F), (0, 0x300), (0x590, 0x700), (0x2000, 0x2070), (0, 0x110000))
    texts = ["x" * 10_000_000, "\U0001f600" * 2_500_000]
    while len(texts) < count:
        parts = []
        for _ in range(rng.randrange(1, 40)):
            low, high = rng.choice(ranges)
            letters = [chr(rng.randrange(low, high)) for _ in range(rng.randrange(12))]
            parts.append(rng.choice(("".join(letters), rng.choice(_TRAPS), "the film was good")))
        texts.append(rng.choice(("", " ", "\n")).join(parts) * rng.choice((1, 1, 1, 1, 50)))
    return texts[:count]


def texts(count: int, seed: int = 0) -> dict[str, Any]:
    """Take so many hostile texts through vocabulary, predict and evaluate, twice."""
    made = hostile_texts(count, seed)
    files = [text for text in made if _is_unicode(text)]
    rules = DataConfig().text
    vocabulary = Vocabulary.build((split_words(text, rules) for text in files), rules)
    encoded = [vocabulary.encode(split_words(text, rules)) for text in made]
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        path = base / "vocabulary.json"
        path.write_text(DatasetInfo("synthetic", "", ("bad", "good"), vocabulary).dump())
        again = DatasetInfo.load(path).vocabulary
        same_ids = again.words == vocabulary.words and all(
            np.array_equal(again.encode(split_words(text, rules)), ids)
            for text, ids in zip(made, encoded, strict=True)
        )

        reviews = write_reviews(
            base / "reviews", train=synthetic.generate("train", examples=TRAIN)[0], test=files
        )
        result = train_in_process(experiment(reviews, epochs=1), base / "run")
        model = load(base / "run", "cpu")
        evaluated = {model.evaluate() for _ in range(2)}
        evaluated.add((result.test_loss, result.test_accuracy))

        reasons = [unreadable(text, rules) for text in made]
        readable = [text for text, why in zip(made, reasons, strict=True) if why is None]
        predicted = [model.predict(readable) for _ in range(2)]
        probabilities = [prediction.probability for prediction in predicted[0]]

        # And as the command reads them: bytes, lines.
        lines = "\n".join(made[2:]).encode(errors="surrogatepass")
        printed = [_predict_command(base / "run", lines) for _ in range(2)]
    answered = len(printed[0].stdout.splitlines())
    return {
        "count": count,
        "words": len(vocabulary.words),
        "same ids after saving": same_ids,
        "evaluated": len(files),
        "evaluated alike": len(evaluated) == 1,
        "predicted": len(readable),
        "unreadable, with a reason": sum(bool(why) and "\n" not in why for why in reasons if why),
        "predicted alike": predicted[0] == predicted[1],
        "probabilities": all(0 <= probability <= 1 for probability in probabilities),
        "lines": len(lines.splitlines()),
        "lines answered": answered,
        "lines answered alike": printed[0].stdout == printed[1].stdout,
        "tracebacks": sum(b"Traceback" in done.stderr for done in printed),
    }


def _is_unicode(text: str) -> bool:
    """Whether a file can hold it: no lone surrogates."""
    with contextlib.suppress(UnicodeEncodeError):
        return bool(text.encode()) or not text
    return False


def _predict_command(workdir: Path, lines: bytes) -> subprocess.CompletedProcess[bytes]:
    code = "from flax_imdb.cli import script; script()"
    args = [sys.executable, "-c", code, "predict", "--workdir", str(workdir), "--device", "cpu"]
    return subprocess.run(args, input=lines, capture_output=True, check=False, cwd=ROOT)


def memory(steps: int, checkpoint_steps: int) -> dict[str, Any]:
    """The memory of a run of so many steps, with checkpoints as often."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        reviews = {
            split: synthetic.generate(split, examples=size)[0]
            for split, size in (("train", BATCH * min(steps, 500)), ("test", TEST))
        }
        write_reviews(base / "reviews", **reviews)
        config = experiment(base / "reviews", epochs=-(-steps // 500))
        process = subprocess.Popen(
            command(config, base / "run", checkpoint_steps), stdout=subprocess.DEVNULL
        )
        samples = list(_resident_megabytes(process, base / "run" / "metrics.jsonl"))
    # Of the steps after the first tenth, in which everything is made that a run needs.
    settled = np.array([sample for sample in samples if sample[0] >= steps / 10])
    slope = float(np.polyfit(settled[:, 0], settled[:, 1], 1)[0]) if len(settled) > 1 else None
    at = [min(samples, key=lambda sample: abs(sample[0] - share * steps)) for share in _SHARES]
    return {
        "steps": samples[-1][0],
        "checkpoint_steps": checkpoint_steps,
        "checkpoints": samples[-1][0] // checkpoint_steps,
        "status": process.wait(),
        "resident_mb": [{"step": step, "mb": mb} for step, mb in at],
        "mb_per_1000_steps": None if slope is None else 1000 * slope,
    }


_SHARES = (0.1, 0.25, 0.5, 0.75, 1)


def _resident_megabytes(
    process: subprocess.Popen[bytes], metrics: Path
) -> Iterator[tuple[int, float]]:
    """The step and the memory after it, whenever an epoch has ended."""
    seen: list[str] = []
    while process.poll() is None:
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if len(lines) > len(seen):
            seen = lines
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, StopIteration):
                status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                line = next(line for line in status if line.startswith("VmRSS"))
                yield json.loads(lines[-1])["step"], int(line.split()[1]) / 1024
        time.sleep(0.02)


def failures(results: dict[str, Any]) -> list[str]:
    """What did not go as it must."""
    problems = []
    for killed in results.get("kills", []):
        problems += [
            f"{killed['signal']}: {killed[name]} of {killed['count']} {name}"
            for name in ("resumed", "equal")
            if killed[name] != killed["count"]
        ]
        if killed["tracebacks"]:
            problems.append(f"{killed['signal']}: {killed['tracebacks']} tracebacks")
    for job in results.get("jobs", []):
        problems += job["wrong"]
        problems += [
            f"{job['signal']}, {job['processes']} processes: {job[name]} of {job['count']} {name}"
            for name in ("resumed", "same")
            if job[name] != job["count"]
        ]
    for kind, outcome in results.get("damages", {"kinds": {}})["kinds"].items():
        problems += [
            f"{kind}: {outcome.get(name, 0)} of {outcome['count']} {name}"
            for name in ("refused", "resumed from an older one")
            if outcome.get(name, 0) != outcome.get("count", 0)
        ]
    problems += _wrong_answers(results["texts"]) if "texts" in results else []
    problems += [
        f"a run of {long['steps']} steps ended with status {long['status']}"
        for long in results.get("memory", [])
        if long["status"]
    ]
    return problems


def _wrong_answers(made: dict[str, Any]) -> list[str]:
    problems = [
        f"texts: not {name}"
        for name in (
            *("same ids after saving", "evaluated alike", "predicted alike", "probabilities"),
            "lines answered alike",
        )
        if not made[name]
    ]
    if made["lines answered"] != made["lines"] or made["tracebacks"]:
        problems.append(f"texts: {made['lines answered']} of {made['lines']} lines answered")
    return problems


def main() -> int:
    """Do it all."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--kills", type=int, default=100, help="runs ended by SIGKILL")
    parser.add_argument("--signals", type=int, default=20, help="by SIGTERM; as many by SIGINT")
    parser.add_argument("--jobs", type=int, default=200, help="of several processes, one lost")
    parser.add_argument("--damages", type=int, default=200, help="checkpoints damaged")
    parser.add_argument("--texts", type=int, default=10_000, help="hostile texts")
    parser.add_argument("--steps", type=int, default=10_000, help="of the long runs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tune_process()
    results: dict[str, Any] = {}
    if options.json and options.json.exists():  # A suite that is given as 0 stays as it is there.
        results = json.loads(options.json.read_text())
    if options.texts:
        results["texts"] = texts(options.texts, options.seed)
        print(json.dumps(results["texts"], allow_nan=False), flush=True)
    if options.damages:
        results["damages"] = damages(options.damages, options.seed)
        print(json.dumps(results["damages"], allow_nan=False), flush=True)
    if options.steps:
        results["memory"] = [memory(options.steps, every) for every in (500, 10)]
        print(json.dumps(results["memory"], allow_nan=False), flush=True)
    counts = {
        signal.SIGKILL: options.kills,
        signal.SIGTERM: options.signals,
        signal.SIGINT: options.signals,
    }
    counts = {number: count for number, count in counts.items() if count}
    if counts:
        names = {number.name for number in counts}
        before = [row for row in results.get("kills", []) if row["signal"] not in names]
        results["kills"] = before + kills(counts, options.seed)
        print(json.dumps(results["kills"], allow_nan=False), flush=True)
    if options.jobs:
        results["jobs"] = jobs(options.jobs, options.seed)
        print(json.dumps(results["jobs"], allow_nan=False), flush=True)
    results |= {"seed": options.seed, "platform": platform.platform(), **runner.machine()}
    runner.write(options.json, results)
    problems = failures(results)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
