"""Code in an interpreter of its own, which imports jax anew."""

import os
import subprocess
import sys


def output(code: str, *args: str, **environment: str) -> str:
    """What a fresh process prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**inherited, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
