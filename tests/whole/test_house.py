"""The house as docs/design.md draws it, what imports what, and where the tests stand."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "flax_imdb", ROOT / "tests"

# From the street to the cellar: a room knows the rooms below it, never those above.
ROOMS = (
    *(
        "__main__",
        "cli",
        "estimator",
        "serve",
        "interchange",
        "export",
        "predict_files",
        "answers",
        "predict",
        "verify",
        "experiment",
        "report",
        "pages",
        "start",
        "stored",
        "exported",
        "workdir",
        "results",
        "scores",
        "explain",
        "check",
        "config",
        "training",
        "tuning",
        "devices",
        "environment",
        "distributed",
        "watch",
        "host",
        "data",
        "nnx",
        "models",
    ),
    *("layers", "ops", "paths", "errors"),
)

# Of what the package needs, the libraries that take long to import or are not everywhere.
HEAVY = {
    *("tensorflow", "tensorflow_datasets", "array_record", "matplotlib", "orbax", "tyro", "rich"),
    *("keras", "pyarrow", "regex", "sklearn", "torch", "jinja2", "tensorboardX"),
    *("starlette", "uvicorn", "prometheus_client"),
    *("onnx", "onnxruntime", "safetensors", "tokenizers", "py_mini_racer", "datasketch"),
}


def imported(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("flax_imdb", set()),
        ("flax_imdb.data", set()),
        ("flax_imdb.check", set()),
        # flax imports rich.
        ("flax_imdb.layers", {"rich"}),
        ("flax_imdb.models", {"rich"}),
        ("flax_imdb.nnx", {"rich"}),
        ("flax_imdb.training", {"rich"}),
        ("flax_imdb.experiment", {"rich"}),
        ("flax_imdb.predict", {"rich"}),
        ("flax_imdb.predict_files", {"rich"}),
        ("flax_imdb.interchange", {"rich"}),
        ("flax_imdb.estimator", {"rich", "sklearn"}),
        ("flax_imdb.cli", {"rich", "tyro"}),
    ],
)
def test_heavy_libraries_are_imported_where_they_are_used(module: str, allowed: set[str]) -> None:
    loaded = imported(f"import {module}")
    if "pandas" in loaded:  # scikit-learn imports it if it is there, and it pyarrow.
        loaded.discard("pyarrow")
    assert loaded & HEAVY == allowed


@pytest.mark.parametrize("room", ["nnx", "models", "layers", "ops"])
def test_layers_import_what_the_readme_says_alone(room: str) -> None:
    imports = [
        name
        for path in (*PACKAGE.glob(f"{room}.py"), *PACKAGE.glob(f"{room}/*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    ]
    libraries = {str(name).partition(".")[0] for name in imports} - set(sys.stdlib_module_names)
    assert libraries <= {"flax_imdb", "jax", "flax", "numpy", "jaxtyping"}


def test_json_is_strict() -> None:
    """Every JSON that is written is read by all programs: NaN and infinity are none."""
    lax = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in (PACKAGE, ROOT / "benchmarks")
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps")
        if "allow_nan=False" not in map(ast.unparse, node.keywords)
    ]
    assert lax == []


def room(module: str) -> str:
    return module.removeprefix("flax_imdb.").partition(".")[0]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_a_room_knows_the_rooms_below_it_alone(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts == ("__init__",):
        return
    own = ROOMS.index(parts[0])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "flax_imdb":
                names = [f"flax_imdb.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name != "flax_imdb"]
        else:
            continue
        for name in names:
            if name.startswith("flax_imdb."):
                assert ROOMS.index(room(name)) >= own, f"{path.name} imports {name}"


def test_every_module_has_a_room() -> None:
    modules = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert modules - {"__init__", "__pycache__"} == set(ROOMS)


def test_every_test_file_stands_where_the_module_that_it_tests_does() -> None:
    """But for those of the whole: tests/a/test_b.py is of flax_imdb/a/b.py or flax_imdb/a/b/."""
    astray = []
    for path in TESTS.rglob("test_*.py"):
        folder = path.relative_to(TESTS).parent
        if folder == Path("whole"):
            continue
        home = ROOT if folder == Path("benchmarks") else PACKAGE
        module = home / folder / path.stem.removeprefix("test_")
        if not (module.with_suffix(".py").exists() or (module / "__init__.py").exists()):
            astray.append(str(path.relative_to(TESTS)))
    assert astray == []


WITHOUT_POSIX = """
import builtins, enum, importlib, os, pkgutil, signal, sys, types

def without(module, names):
    copy = types.ModuleType(module.__name__)
    vars(copy).update({name: value for name, value in vars(module).items() if name not in names})
    return copy

windows = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
restricted = {
    "os": without(os, {
        *("fork", "forkpty", "register_at_fork", "posix_spawn", "wait", "WNOHANG", "killpg"),
        *("getuid", "geteuid", "getgid", "getegid", "getgroups", "getpgid", "getsid", "setsid"),
        *("chown", "fchown", "lchown", "chroot", "mkfifo", "mknod", "nice", "openpty", "ttyname"),
        *("sched_getaffinity", "sysconf", "uname", "statvfs", "fstatvfs", "getloadavg", "lockf"),
        *("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "fdatasync", "sync", "sendfile"),
    }),
    "signal": without(signal, {name for name in dir(signal) if name[:3] == "SIG"} - windows),
}
members = {each.name: each.value for each in signal.Signals if each.name in windows}
restricted["signal"].Signals = enum.IntEnum("Signals", members)
hidden = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog", "posix"}
import_ = builtins.__import__

def import_for_windows(name, globals=None, *args, **options):
    # For this package alone: other libraries have their own ways.
    if ((globals or {}).get("__name__") or "").partition(".")[0] == "flax_imdb":
        if name in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in restricted:
            return restricted[name]
    return import_(name, globals, *args, **options)

builtins.__import__ = import_for_windows
import flax_imdb
for module in pkgutil.walk_packages(flax_imdb.__path__, "flax_imdb."):
    importlib.import_module(module.name)
from flax_imdb import cli, workdir
assert not hasattr(cli.program.os, "geteuid")
small = ("--batch-size", "8", "--epochs", "1", "--features", "4")
run = ("--workdir", sys.argv[1])
size = ("--max-length", "10", "--vocab-size", "50", "--embedding-features", "4")
train = cli.command("train")
assert cli.run(train, ["--data-dir", sys.argv[2], *small, *size, *run], "train.py") == 0
assert cli.main(["predict", *run, "a good film"]) == 0
with workdir.Workdir(sys.argv[1]).hold():
    assert cli.run(train, ["--resume", "--epochs", "2", *run], "train.py") == 2
"""


def test_a_run_needs_nothing_that_windows_has_not(reviews: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, tmp_path / "run", reviews],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"error: --workdir {tmp_path / 'run'} is in use by another run"
    )
