"""Faults caused in a process from outside: resource limits, and `shim/faults.c` by LD_PRELOAD."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SHIM = Path(__file__).resolve().parent / "shim"
SHIMMED = os.pathsep.join([str(SHIM), str(SHIM.parents[2])])
"""The PYTHONPATH under which `shim/sitecustomize.py` is found."""

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="limits of other processes are set with Linux's prlimit"
)


@contextmanager
def limit_resource(pid: int, what: int, limit: int) -> Iterator[None]:
    """Limit a resource of a process. Only the soft limit moves, so that anybody may lift it."""
    former = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (limit, former[1]))
    try:
        yield
    finally:
        if Path(f"/proc/{pid}").exists():
            resource.prlimit(pid, what, former)


def build_shim(folder: Path) -> str:
    """Build the shim. Returns the value of LD_PRELOAD; skips the test if it cannot be built."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("slow and failing disks and set clocks need Linux and a C compiler (cc)")
    built = folder / "faults.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(built), str(SHIM / "faults.c"), "-ldl"],
        check=True,
        timeout=60,
    )
    return str(built)


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    """Bytes, of `VmRSS` (now), `VmHWM` (the most so far) or `VmSize` (addresses)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    raise LookupError(field)
