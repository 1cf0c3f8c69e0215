"""The command in the environments that people run it in: what it gives, and what it must give.

    python benchmarks/environments.py --json benchmarks/results/environments.json

Each case is a line of bash in an empty directory of its own. Ends with status 1 where one gives
something else. `--only WORD` tries those alone whose line or name has the word.
docs/environments.md shows the results. It needs nothing but the package: its reviews are synthetic.
"""

import concurrent.futures
import dataclasses
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import runner

from flax_imdb import environment

ROOT = Path(__file__).parents[1]

# What bash finds in every case; a case may set anything else, or unset it.
SMALL = (
    "--arch lstm_dropout --dataset synthetic --train-examples 200 --test-examples 100 --epochs 1 "
    "--features 8 --max-length 50"
)
REAL = "--train-examples 200 --test-examples 100 --epochs 1 --features 8"
EXECUTE = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"

# Commands of the cases' own.
TOOLS = {
    # Root may read and write anything, unless it gives that up: CAP_DAC_OVERRIDE and
    # CAP_DAC_READ_SEARCH, from the bounding set (PR_CAPBSET_DROP).
    "unprivileged": f"""
import ctypes, os
if os.geteuid() == 0:
    assert all(ctypes.CDLL(None).prctl(24, each) == 0 for each in (1, 2))
{EXECUTE}
""",
    # A user that the system does not know. In effect it is root still: Python may be a root's own.
    "nobody": f"""
import os
os.setreuid(54321, 0)
{EXECUTE}
""",
    # Bash has what it starts in the background ignore SIGINT.
    "listening": f"""
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
{EXECUTE}
""",
    "one-core": f"""
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
{EXECUTE}
""",
    "terminal": """
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
""",
    "hold": """
import sys, time
from flax_imdb.workdir import Workdir
with Workdir(sys.argv[1]).hold():
    time.sleep(60)
""",
    "notebook": """
import nbclient, nbformat
cell = nbformat.v4.new_code_cell('''
from flax_imdb import DataConfig, ExperimentConfig, ModelConfig, TrainConfig, train
train(
    ExperimentConfig(
        model=ModelConfig("lstm_dropout", features=8),
        data=DataConfig("synthetic", train_examples=200, test_examples=100, max_length=50),
        training=TrainConfig(epochs=1),
    ),
    "w",
)
''')
notebook = nbformat.v4.new_notebook(cells=[cell])
nbclient.NotebookClient(notebook, timeout=300).execute()
for output in cell.outputs:
    print(output.get("text") or output["data"].get("text/plain"))
""",
}
# A run of so many epochs has not ended when its first one has; then it is given a signal.
SIGNALLED = (
    "{start} $TRAIN $SMALL --epochs {epochs} --workdir w {streams} & pid=$!; "
    "until [ -s w/metrics.jsonl ]; do sleep 0.1; kill -0 $pid || break; done; "
    "kill -{signal} $pid; wait $pid"
)


@dataclasses.dataclass(frozen=True)
class Case:
    """An environment, and what the command must give in it.

    Attributes:
      name: on the page.
      shell: the line of bash.
      status: its exit status.
      says: a pattern that the one line on standard error beginning with ``error:`` or ``warning:``
        must match; none: there must be no such line.
      loss: what the test loss in ``w/result.json`` must be: that of the plain run, or of the one
        of two epochs, to the bit; `"near"`: that of the plain run but for rounding; `"none"`:
        there is no such file.
      then: a line of bash that must succeed afterwards.
      needs: what there must be for it to be tried: modules, or ``"root"``.
    """

    name: str
    shell: str
    status: int = 0
    says: str | None = None
    loss: Literal["plain", "two", "near", "none"] = "plain"
    then: str = "true"
    needs: tuple[str, ...] = ()


def jax_settings() -> list[Case]:
    """What JAX can be told by variables."""

    def case(setting: str, command: str = "$TRAIN $SMALL --workdir w", **expected: Any) -> Case:
        return Case(f"`{setting}`", f"{setting} {command}", **expected)

    def refused(says: str) -> dict[str, Any]:
        return {"status": 2, "says": says, "loss": "none", "then": "[ ! -e w ]"}

    excluded = refused("error: .*JAX_PLATFORMS=cuda lets JAX look for nothing else: unset it")
    four = {"loss": "near", "then": """grep -q '"devices": 4,' w/result.json"""}
    return [
        *(
            case(setting)
            for setting in (
                *("JAX_ENABLE_X64=1", "JAX_DEFAULT_PRNG_IMPL=rbg", "JAX_THREEFRY_PARTITIONABLE=0"),
                *("JAX_NUMPY_DTYPE_PROMOTION=strict", "JAX_NUMPY_RANK_PROMOTION=raise"),
                *("JAX_TRANSFER_GUARD=disallow", "JAX_CHECK_TRACER_LEAKS=1"),
                *("JAX_ENABLE_CHECKS=1", "JAX_LEGACY_PRNG_KEY=error", "JAX_LOG_COMPILES=1"),
            )
        ),
        case("JAX_DEBUG_NANS=1 JAX_DEBUG_INFS=1", loss="near"),
        case("JAX_DISABLE_JIT=1", **refused("error: JAX_DISABLE_JIT is set, .* unset it")),
        case("JAX_PLATFORMS=cuda CUDA_VISIBLE_DEVICES=", **excluded),
        dataclasses.replace(
            case(
                "JAX_PLATFORMS=cuda CUDA_VISIBLE_DEVICES=",
                "$TRAIN $SMALL --workdir w --device cpu",
                **excluded,
            ),
            name="the same with `--device cpu`",
        ),
        dataclasses.replace(
            case(
                "JAX_PLATFORMS=cuda CUDA_VISIBLE_DEVICES=",
                "$FLAX predict --device cpu --workdir $ONE film",
                **excluded,
            ),
            name="the same, `predict`",
        ),
        case("JAX_PLATFORMS=abacus", **refused("error: .*finds no device: .*abacus")),
        case("XLA_FLAGS=--xla_force_host_platform_device_count=4", **four),
        case("JAX_NUM_CPU_DEVICES=4", **four),
        case("JAX_PLATFORMS=cpu", loss="plain"),
        dataclasses.replace(
            case(
                "JAX_PLATFORMS=cpu",
                "$TRAIN $SMALL --workdir w --device tpu",
                **refused("error: --device tpu is not there"),
            ),
            name="`--device tpu` without one",
        ),
        case("FLAX_RETURN_FROZENDICT=1"),
    ]


def resuming() -> list[Case]:
    """A run of one epoch that goes on in another environment."""

    def case(setting: str, **expected: Any) -> Case:
        command = f"cp -r $ONE w; {setting} $TRAIN --resume --workdir w --epochs 2"
        options: dict[str, Any] = {"loss": "two", **expected}
        return Case(f"`{setting}`" if setting else "in the same", command, **options)

    warned = "warning: the run goes on in another environment, and rounds differently .*: {}"
    refused: dict[str, Any] = {"status": 2, "loss": "plain"}
    return [
        case(""),
        case("JAX_ENABLE_X64=1"),
        case("JAX_DEFAULT_PRNG_IMPL=rbg"),
        case("JAX_THREEFRY_PARTITIONABLE=0"),
        case("JAX_RANDOM_SEED_OFFSET=1", says="error: JAX_RANDOM_SEED_OFFSET 1 is not", **refused),
        case("FLAX_FIX_RNG_SEPARATOR=1", says="error: FLAX_FIX_RNG_SEPARATOR True is", **refused),
        case(
            "JAX_NUM_CPU_DEVICES=3", says=warned.format("devices 3 x cpu .was . x cpu"), loss="near"
        ),
        case(
            "JAX_DEFAULT_MATMUL_PRECISION=float32",
            says=warned.format("jax_default_matmul_precision float32 .was None"),
            loss="near",
        ),
    ]


def streams() -> list[Case]:
    """Where output goes and input comes from."""
    train = "$TRAIN $SMALL --workdir w"
    predict = "$FLAX predict --workdir $ONE"
    piped = '; exit "${PIPESTATUS[0]}"'
    return [
        Case(
            "to a pipe whose reader has enough",
            f"{train} | head -1{piped}",
            141,
            None,
            "none",
        ),
        Case(
            "`evaluate`, to such a pipe",
            f"$FLAX evaluate --workdir $ONE | true{piped}",
            141,
            None,
            "none",
        ),
        Case("standard output closed", f"{train} >&-"),
        Case("standard error closed", f"{train} 2>&-"),
        Case("standard input closed", f"{train} <&-"),
        Case("`predict`, standard input closed", f"{predict} <&-", loss="none"),
        Case("`predict`, no input", f"{predict} </dev/null", loss="none"),
        Case(
            "a full disk behind standard output",
            f"{train} >/dev/full",
            2,
            "error: standard output cannot be written: No space",
            "none",
        ),
        Case("a terminal", f"terminal {train} >out", then="grep -q compiling out"),
        Case("`TERM=dumb`, a terminal", f"TERM=dumb terminal {train}"),
        Case("`COLUMNS=20 NO_COLOR=1`", f"COLUMNS=20 NO_COLOR=1 {train}"),
        Case(
            "a notebook",
            "notebook >out",
            then="grep -q 'test accuracy\\|Accuracy: ' out",
            needs=("nbclient", "ipykernel"),
        ),
    ]


def texts() -> list[Case]:
    """Encodings."""
    return [
        Case("`LC_ALL=C`", "LC_ALL=C $TRAIN $SMALL --workdir w"),
        Case(
            "`LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0`",
            "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $TRAIN $SMALL --workdir w",
        ),
        Case(
            "the same, a flag that does not exist",
            "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $TRAIN --bogus 1",
            2,
            "error: Unrecognized options: --bogus, 1$",
            "none",
        ),
        *(
            Case(
                f"a workdir that a console of {encoding} cannot say",
                f"PYTHONIOENCODING={encoding} $TRAIN $SMALL --workdir 映画 && mv 映画 w",
            )
            for encoding in ("ascii", "latin-1")
        ),
        Case(
            "a workdir whose name is no UTF-8",
            "$TRAIN $SMALL --workdir w$'\\xff'",
            2,
            "error: --workdir ",
            "none",
        ),
    ]


def paths() -> list[Case]:
    """Directories, as they are named and as they are."""
    train = "$TRAIN $SMALL --workdir"

    def refused(name: str, shell: str, says: str, **more: Any) -> Case:
        return Case(name, shell, 2, f"error: .*{says}", "none", **more)

    return [
        refused('`--workdir ""`', f"{train} ''", "empty", then='[ "$(ls)" = home ]'),
        Case("`--workdir=~/x`", "$TRAIN $SMALL --workdir=~/x && mv home/x w"),
        Case(
            "`FLAX_IMDB_CACHE` begins with `~`",
            f"FLAX_IMDB_CACHE='~/x' {train} w",
            then="ls home/x/*/entry.json",
        ),
        refused("a name of 300 characters", f"{train} $(printf 'x%.0s' {{1..300}})", "too long"),
        refused("a file as workdir", f"touch file; {train} file", "file"),
        refused(
            "a workdir that may not be written",
            f"mkdir -m 555 r; unprivileged {train} r/w",
            "cannot be written: Permission denied",
        ),
        Case("blanks in the name", f"{train} 'a b' && mv 'a b' w"),
        Case(
            "another working directory",
            "cd home && $TRAIN $SMALL --workdir ../w",
        ),
        Case(
            "two runs at once without `--workdir`",
            "$TRAIN $SMALL & $TRAIN $SMALL && wait $! && mv runs/* .",
            then='[ "$(ls -d lstm_dropout-* | wc -l)" = 2 ]',
            loss="none",
        ),
        refused(
            "another run is at work in it",
            "hold w & until [ -e w/.lock ]; do sleep 0.1; done; sleep 1; "
            f"{train} w; status=$?; kill %1; exit $status",
            "is in use by another run",
        ),
        refused(
            "no `HOME`, and a user that the system does not know",
            f"nobody env -u HOME -u FLAX_IMDB_CACHE {train} w",
            "no home directory",
            needs=("root",),
        ),
        Case(
            "the same with `FLAX_IMDB_CACHE`",
            f"nobody env -u HOME FLAX_IMDB_CACHE=cache {train} w",
            needs=("root",),
        ),
        Case(
            "a cache that is shared, `umask 022`",
            f"umask 022; FLAX_IMDB_CACHE=cache {train} w",
            then='[ -z "$(find cache/*-* -not -perm -044)" ] && ls cache/*/entry.json',
        ),
        Case(
            "a cache that may not be read",
            f"FLAX_IMDB_CACHE=cache {train} v && rm -r v && chmod 000 cache/synthetic-* && "
            f"FLAX_IMDB_CACHE=cache unprivileged {train} w",
            says="warning: .*cannot be read .Permission denied",
        ),
    ]


def reviews() -> list[Case]:
    """Reviews that are not there, or may not be read; nothing is fetched."""
    offline = "http_proxy=http://127.0.0.1:9"
    made = "mkdir -p d/aclImdb/{train,test}/{neg,pos}"

    def refused(name: str, shell: str, says: str) -> Case:
        return Case(name, shell, 2, f"error: .*{says}", "none", "[ ! -e w ]")

    train = "$TRAIN $REAL --workdir w"
    return [
        refused(
            "`TFDS_DATA_DIR` names an empty directory",
            f"mkdir d; {offline} TFDS_DATA_DIR=d {train}",
            "TFDS_DATA_DIR d holds no reviews",
        ),
        refused(
            "`TFDS_DATA_DIR` names no directory",
            f"{offline} TFDS_DATA_DIR=d {train}",
            "TFDS_DATA_DIR d is not a directory",
        ),
        refused(
            "`TFDS_DATA_DIR` is empty", f"{offline} TFDS_DATA_DIR= {train}", "TFDS_DATA_DIR is"
        ),
        refused(
            "`TFDS_DATA_DIR` names what may not be read",
            f"{made}; chmod 000 d; TFDS_DATA_DIR=d unprivileged {train}",
            "cannot be read: Permission denied",
        ),
        refused(
            "`--data-dir` names what may not be read",
            f"{made}; chmod 000 d/aclImdb/train; unprivileged {train} --data-dir d",
            "cannot be read: Permission denied",
        ),
        refused(
            "`--data-dir` names an empty directory", f"mkdir d; {train} --data-dir d", "d holds no"
        ),
        Case(
            "neither set, and no network",
            f"{offline} {train}",
            loss="none",
            then="""grep -q '"dataset": "synthetic"' w/result.json || exit 1; rm w/result.json""",
        ),
    ]


def pictures() -> list[Case]:
    """What matplotlib can be told."""
    train = "$TRAIN $SMALL --workdir w"
    return [
        Case(
            "`MPLBACKEND` of a notebook",
            f"MPLBACKEND=module://matplotlib_inline.backend_inline {train}",
            then="[ -s w/curves.png ]",
        ),
        Case(
            "a matplotlibrc that asks for LaTeX",
            f"echo 'text.usetex: true' >matplotlibrc; {train}",
            then="[ -s w/curves.png ]",
        ),
        Case(
            "matplotlib's own directory may not be written",
            f"mkdir -m 555 m; MPLCONFIGDIR=m unprivileged {train}",
            then="[ -s w/curves.png ]",
        ),
    ]


def starts() -> list[Case]:
    """Ways to start it."""
    version = "[ \"$(cat out)\" = 'flax-imdb '$VERSION ]"
    return [
        Case("`python -m flax_imdb train`", "$FLAX train $SMALL --workdir w"),
        *(
            Case(f"`{name} --version`", f"{command} --version >out", loss="none", then=version)
            for name, command in (
                ("train.py", "$TRAIN"),
                ("python -m flax_imdb", "$FLAX"),
                ("python -m flax_imdb.cli", "$PYTHON -m flax_imdb.cli"),
            )
        ),
        Case("`python -O`", "$PYTHON -O $ROOT/train.py $SMALL --workdir w"),
        Case("`PYTHONHASHSEED=1`", "PYTHONHASHSEED=1 $TRAIN $SMALL --workdir w"),
        Case("`PYTHONSAFEPATH=1`", "PYTHONSAFEPATH=1 $TRAIN $SMALL --workdir w"),
        Case(
            "one core of several",
            "one-core $TRAIN $SMALL --workdir w",
            loss="near",
            then="""grep -q '"devices": 1,' w/result.json""",
        ),
        Case("64 open files at most", "ulimit -n 64; $TRAIN $SMALL --workdir w"),
    ]


def signals() -> list[Case]:
    """Ways to end it."""

    def case(name: str, signal: str, status: int, start: str = "", epochs: int = 500) -> Case:
        shell = SIGNALLED.format(start=start, epochs=epochs, signal=signal, streams=">out 2>&1")
        if status:
            # What was saved goes on.
            shell += "; status=$?; grep -q 'continue with --resume' out || exit 1; exit $status"
        return Case(name, shell, status, loss="none", then="ls w/checkpoints/[1-9]*")

    finished = "rm w/result.json"
    return [
        case("SIGTERM", "TERM", 143),
        case("SIGINT", "INT", 130, "listening"),
        case("SIGHUP", "HUP", 129),
        dataclasses.replace(case("SIGHUP under `nohup`", "HUP", 0, "nohup", 5), then=finished),
        dataclasses.replace(
            case("SIGINT, started by `train.py &` in a script", "INT", 0, "", 5), then=finished
        ),
    ]


GROUPS = {
    "JAX's settings": jax_settings(),
    "`--resume` elsewhere than the run began": resuming(),
    "Output and input": streams(),
    "Encodings": texts(),
    "Directories": paths(),
    "Reviews": reviews(),
    "Pictures": pictures(),
    "Ways to start it": starts(),
    "Signals": signals(),
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a case gave.

    Attributes:
      status: its exit status.
      said: its lines on standard error that begin with ``error:`` or ``warning:``.
      wrong: what is not as it must be; nothing where all is.
    """

    status: int
    said: list[str]
    wrong: list[str]


class Bench:
    """Where the cases are tried: what they share, and the runs that theirs are compared with."""

    def __init__(self, directory: Path):
        self.directory = directory
        directory.chmod(0o755)
        tools = directory / "bin"
        tools.mkdir()
        for name, code in TOOLS.items():
            (tools / name).write_text(f"#!{sys.executable}\n{code}")
            (tools / name).chmod(0o755)
        self._variables = {
            # Variables of whoever starts this are no part of a case.
            **{name: os.environ[name] for name in ("JUPYTER_PATH",) if name in os.environ},
            "FLAX": f"{sys.executable} -m flax_imdb",
            "FLAX_IMDB_CACHE": str(directory / "cache"),
            "LANG": "C.UTF-8",
            "ONE": str(directory / "one" / "w"),
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "REAL": REAL,
            "ROOT": str(ROOT),
            "SMALL": SMALL,
            "TERM": "xterm",
            "TRAIN": f"{sys.executable} {ROOT / 'train.py'}",
            "VERSION": environment.versions()["flax_imdb"],
        }
        self._losses = {"plain": self._train("one", 1), "two": self._train("two", 2)}

    def _train(self, name: str, epochs: int) -> float:
        """The test loss of a run to compare with."""
        done = self._bash(f"$TRAIN $SMALL --epochs {epochs} --workdir w", self.directory / name)
        loss = _test_loss(self.directory / name)
        if done.returncode != 0 or loss is None:
            raise RuntimeError(done.stderr.decode())
        return loss

    def _bash(self, line: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
        (directory / "home").mkdir(parents=True)
        return subprocess.run(
            ["bash", "-c", line],
            cwd=directory,
            env={**self._variables, "HOME": str(directory / "home")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=600,
            check=False,
        )

    def attempt(self, number: int, case: Case) -> Outcome | None:
        """Try a case; None if what it needs is not here."""
        if not all(map(is_there, case.needs)):
            return None
        directory = self.directory / f"case-{number}"
        done = self._bash(case.shell, directory)
        errors = done.stderr.decode(errors="replace")
        for path, name in ((directory, "."), (self.directory, ".."), (ROOT, "flax_imdb")):
            errors = errors.replace(str(path), name)
        lines = errors.splitlines()
        said = [line for line in lines if line.startswith(("error:", "warning:"))]
        # So few reviews teach little, in any environment.
        said = [line for line in said if "most frequent class" not in line]
        wrong = []
        if done.returncode != case.status:
            wrong.append(f"its status is {done.returncode}, not {case.status}")
        if "Traceback" in errors or b"Traceback" in done.stdout:
            wrong.append("there is a traceback")
        if case.says is None and said:
            wrong.append("it says something")
        if case.says is not None and not (len(said) == 1 and re.match(case.says, said[0])):
            wrong.append(f"it does not say once {case.says!r}")
        then = subprocess.run(
            ["bash", "-c", case.then],
            cwd=directory,
            env=self._variables,
            capture_output=True,
            check=False,
        )
        if then.returncode != 0:
            wrong.append(f"afterwards it is not so that {case.then}")
        if not self._is_expected(case.loss, loss := _test_loss(directory)):
            wrong.append(f"its test loss is {loss}")
        if wrong:
            print(f"{case.shell}\n{errors}", file=sys.stderr)
        return Outcome(done.returncode, said, wrong)

    def _is_expected(self, expected: str, loss: float | None) -> bool:
        if expected == "none" or loss is None:
            return expected == "none" and loss is None
        if expected == "near":
            return math.isclose(loss, self._losses["plain"], rel_tol=1e-2)
        return loss == self._losses[expected]


def _test_loss(directory: Path) -> float | None:
    path = directory / "w" / "result.json"
    return json.loads(path.read_text())["test_loss"] if path.exists() else None


def is_there(need: str) -> bool:
    """Whether there is what a case needs."""
    if need == "root":
        return os.geteuid() == 0
    return importlib.util.find_spec(need) is not None


def main() -> int:
    """Try the cases."""
    parser = runner.Parser(__doc__)
    parser.add_argument("--only", default="", help="those whose line or name has this word")
    args = parser.parse_args()
    # What is ignored here, as under nohup, would be ignored there.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    chosen = [
        (group, case)
        for group, cases in GROUPS.items()
        for case in cases
        if args.only in case.name + case.shell
    ]
    rows = []
    with tempfile.TemporaryDirectory(prefix="environments-") as directory:
        bench = Bench(Path(directory))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(bench.attempt, range(len(chosen)), (c for _, c in chosen)))
    for (group, case), outcome in zip(chosen, outcomes, strict=True):
        if outcome is None:
            print(f"not tried, since it needs {', '.join(case.needs)}: {case.name}")
            continue
        print(f"{'wrong' if outcome.wrong else 'right'}  {group}: {case.name}")
        for line in outcome.wrong:
            print(f"       {line}")
        rows.append(
            {
                "group": group,
                "name": case.name,
                "loss": case.loss,
                "status": outcome.status,
                "said": outcome.said,
                "right": not outcome.wrong,
            }
        )
    wrong = sum(not row["right"] for row in rows)
    print(f"{len(rows)} environments, {wrong} wrong")
    runner.write(args.json, {"rows": rows})
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
