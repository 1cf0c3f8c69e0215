"""``flax-imdb serve``."""

import dataclasses
import ipaddress
import os

import tyro

from flax_imdb.cli.flags import Imports, parse, warn_of_synthetic
from flax_imdb.devices import DeviceName
from flax_imdb.errors import InputError, check_between, warn

_PORT = 8000


@dataclasses.dataclass(frozen=True)
class ServeOptions:
    """Answer over HTTP: a page to type a text in, and an API.

    It ends at Ctrl-C or SIGTERM, once it has answered what is under way.

    Attributes:
      workdir: The run's directory.
      host: The address to listen at. There is no authentication.
      port: The port; 0: any that is free. None: $PORT, or 8000.
      max_texts: Refuse requests of more texts; for explanations a sixteenth of that.
      max_characters: Refuse longer texts.
      max_waiting: Refuse requests while so many texts wait; for explanations a sixteenth of that.
      deadline: Seconds until a request is answered, or refused.
      device: Where to compute.
      imports: Import this module first: the one that registers the run's architecture.
    """

    workdir: str = tyro.MISSING
    host: str = "127.0.0.1"
    port: int | None = None
    max_texts: int = 256
    max_characters: int = 50_000
    max_waiting: int = 1024
    deadline: float = 30.0
    device: DeviceName = "auto"
    imports: Imports = ()


def command(args: list[str], prog: str) -> int:
    """Answer over HTTP: a page to type a text in, and an API."""
    options = parse(ServeOptions, args, prog)
    _check_installed()
    from flax_imdb.predict import load
    from flax_imdb.serve import Limits, Served, listen, serve

    limits = Limits(
        options.max_texts, options.max_characters, options.max_waiting, options.deadline
    )
    # First of all: a port that is taken is known at once.
    with listen(options.host, _port(options.port)) as listening:
        model = load(options.workdir, options.device)
        warn_of_synthetic(model.config)
        served = Served(model)
        host, port = listening.getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        print(f"Listening at http://{address}:{port}/", flush=True)
        if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            warn(
                f"--host {options.host}: whoever reaches this machine can ask the model, without a "
                "password and unencrypted"
            )
        serve(served, listening, limits, _say_ready)
    return 0


def _say_ready(seconds: float) -> None:
    print(f"Ready after {seconds:.1f} s", flush=True)


def _port(given: int | None) -> int:
    """The port, of the flag or of the environment."""
    if given is None:
        of_environment = os.environ.get("PORT")
        if not of_environment:
            return _PORT
        if not of_environment.isdecimal() or int(of_environment) > 65_535:
            raise InputError(f"PORT {of_environment!r} is no port: a number up to 65535 is needed")
        return int(of_environment)
    check_between("port", given, 0, 65_535)
    return given


def _check_installed() -> None:
    """Raise InputError if the libraries of the extra ``serve`` are not there."""
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"serving needs {error.name}, which is not installed: pip install starlette uvicorn "
            "prometheus-client"
        ) from None
