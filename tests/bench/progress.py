"""The progress of a long run, on standard error.

It is one line that changes on a terminal, else a new line every ten seconds.
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

TERMINAL_INTERVAL_SECONDS, FILE_INTERVAL_SECONDS = 0.5, 10.0


def log_errors_only() -> None:
    """Log errors only, for runs in which processes die and restart as planned."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@contextmanager
def show_progress(describe: Callable[[], str], out: TextIO | None = None) -> Iterator[None]:
    """Write the elapsed time and what `describe` returns, for as long as the block runs.

    What `describe` raises is ignored.
    """
    out = out or sys.stderr
    done = threading.Event()
    thread = threading.Thread(
        target=_write, args=(describe, out, done, out.isatty()), name="progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(5)


def _write(describe: Callable[[], str], out: TextIO, done: threading.Event, in_place: bool) -> None:
    began = time.monotonic()
    while not done.wait(TERMINAL_INTERVAL_SECONDS if in_place else FILE_INTERVAL_SECONDS):
        try:
            text = f"{time.monotonic() - began:5.0f} s  {describe()}"
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
