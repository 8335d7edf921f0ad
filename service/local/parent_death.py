"""Ends a child process when its parent dies, even where the parent is killed without warning.

This file is also the small program that becomes the child: `python -I -S parent_death.py PARENT
PIPE ARGV...`. It arranges for its own end and then turns into ARGV, keeping its process id. On
Linux the kernel sends SIGTERM when the parent's *thread* that started the child ends, so that
thread must stay alive; elsewhere a forked watcher waits for the end of a pipe that only the parent
holds open. A preexec function would run Python between the fork and exec of a threaded program;
this does not.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: IO[bytes] | None = None,
    inherited_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts `argv` in a process group of its own, with no input.

    It gets SIGTERM once the calling thread ends (Linux) or the calling process (elsewhere). Raises
    OSError.
    """
    if shutil.which(argv[0], path=(os.environ if env is None else env).get("PATH")) is None:
        raise FileNotFoundError(f"no such program: {argv[0]}")
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(read_end), *argv],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[read_end, *inherited_fds],
            process_group=0,
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    _pipes[process.pid] = write_end
    return process


def release(pid: int) -> None:
    """Closes the pipe of a child that has ended."""
    write_end = _pipes.pop(pid, None)
    if write_end is not None:
        os.close(write_end)


# Child's pid -> the end of the pipe that closes when we die.
_pipes: dict[int, int] = {}


def _tie(parent: int, pipe: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(0)
        os.close(pipe)
        return
    child = os.getpid()
    if os.fork() == 0:  # the watcher; the child's own process goes on below
        os.read(pipe, 1)
        os.kill(child, signal.SIGTERM)
        os._exit(0)
    os.close(pipe)


def _become(argv: Sequence[str]) -> None:
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        sys.exit(f"cannot start {argv[0]}: {error.strerror}")


if __name__ == "__main__":
    _tie(int(sys.argv[1]), int(sys.argv[2]))
    _become(sys.argv[3:])
