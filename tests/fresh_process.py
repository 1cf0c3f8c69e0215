"""Running code in a new interpreter."""

import os
import subprocess
import sys


def output(code: str, *args: str, **environment: str) -> str:
    """The output of `code` in a new process."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**inherited, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
