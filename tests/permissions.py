"""Enforcement of file permissions for root, too, in the calling thread."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_VERSION_3 = 0x20080522  # linux/capability.h
_DAC = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


@contextlib.contextmanager
def enforced() -> Iterator[None]:
    """Context manager in which file modes apply to this thread even as root."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    assert libc.capget(ctypes.byref(header), data) == 0
    before = data[0].effective
    data[0].effective = before & ~_DAC
    assert libc.capset(ctypes.byref(header), data) == 0
    try:
        yield
    finally:
        data[0].effective = before
        assert libc.capset(ctypes.byref(header), data) == 0


@contextlib.contextmanager
def denied(path: Path, mode: int = 0) -> Iterator[None]:
    """Context manager in which `path` has the permissions `mode`, and they are enforced."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with enforced():
            yield
    finally:
        path.chmod(before)
