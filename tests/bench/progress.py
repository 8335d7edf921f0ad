"""How far a long run is: one line on standard error, in place on a terminal, else a line of its own
every ten seconds.
"""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog

TERMINAL_SECONDS, FILE_SECONDS = 0.5, 10.0


def errors_only() -> None:
    """For commands whose output is their figures: parts that die and come back are no news
    there.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@contextmanager
def progress(tell: Callable[[], str], out: TextIO | None = None) -> Iterator[None]:
    """Writes what `tell` says, after the time since the start, for as long as the block runs. What
    `tell` raises is left out.
    """
    out = out or sys.stderr
    done = threading.Event()
    thread = threading.Thread(
        target=_write, args=(tell, out, done, out.isatty()), name="progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(5)


def _write(tell: Callable[[], str], out: TextIO, done: threading.Event, in_place: bool) -> None:
    began = time.monotonic()
    while not done.wait(TERMINAL_SECONDS if in_place else FILE_SECONDS):
        try:
            text = f"{time.monotonic() - began:5.0f} s  {tell()}"
        except Exception:
            continue
        if in_place:
            width = shutil.get_terminal_size().columns - 1
            out.write(f"\r{text[:width]:{width}}")
        else:
            out.write(text + "\n")
        out.flush()
    if in_place:
        out.write("\r\x1b[K")
        out.flush()
