"""Shared configuration and fixtures. This runs before the package is imported."""

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Shells ignore SIGINT in background jobs, and the runs under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Keras is the peer of the parity tests; tests with several devices need four.
os.environ["KERAS_BACKEND"] = "jax"
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)

# Most of the tests' time is compilation, much of it of the same programs, so they are cached.
# pytest-xdist's workers inherit the directory from the main process.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="flax_imdb-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    # Optimization takes three times as long to compile, and most programs run only once. The user's
    # flags come last and take precedence; `.ci/long` compiles with optimization.
    flags = ["--xla_backend_optimization_level=0"]
    if jax.__version_info__ < (0, 11):  # Later versions abort on this unknown flag.
        flags += ["--xla_cpu_use_fusion_emitters=false"]
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")])
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

# A test may take as long as a busy machine needs.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

# Arguments and results are checked against the shapes in the signatures.
install_import_hook(
    ["flax_imdb.layers", "flax_imdb.models", "flax_imdb.nnx", "flax_imdb.training.metrics"],
    "beartype.beartype",
)


@pytest.fixture(scope="session")
def imdb_reviews_dir() -> Path:
    """A tfds data directory with the real reviews; without one the test is skipped."""
    directory = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    if not (directory / "imdb_reviews" / "plain_text" / "1.0.0").exists():
        pytest.skip("needs the real reviews, prepared in $TFDS_DATA_DIR")
    return directory


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tiny dataset of `fake_reviews`."""
    import fake_reviews

    return fake_reviews.write(tmp_path_factory.mktemp("reviews"))


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache directory for the tests."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAX_IMDB_CACHE", str(directory))
        yield directory
