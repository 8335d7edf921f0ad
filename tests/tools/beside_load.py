"""Run a command while busy loops take the processors: `python -m tests.tools.beside_load 4 COMMAND`.

The loops end with the command, with this process however it dies, and after an hour.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from types import FrameType

MAX_SECONDS = 3600
LOOP = """
import os, sys, time
end = time.monotonic() + float(sys.argv[1])
while os.getppid() == int(sys.argv[2]) and time.monotonic() < end:
    for _ in range(1_000_000):
        pass
"""


def run(loops: int, command: list[str]) -> int:
    """Return the command's exit code."""
    with ExitStack() as stack:
        for _ in range(loops):
            argv = [sys.executable, "-c", LOOP, str(MAX_SECONDS), str(os.getpid())]
            loop = stack.enter_context(subprocess.Popen(argv))
            stack.callback(loop.kill)
        child = stack.enter_context(subprocess.Popen(command))
        stack.callback(child.terminate)
        return child.wait()


def _stop(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
