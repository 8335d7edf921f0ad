"""Logs one line per event, with ids and outcomes only, in inert text and without ever blocking.

    event -> inert text -> one line -> bounded queue -> a thread that writes

A reader that stops reading blocks only that thread: lines that do not fit into the queue are
dropped, and a later line says how many. An exception is logged as its type and places, because its
message may quote what somebody sent.

Fields have the same names everywhere: `submission_id`, `source`, `outcome`, `duration_ms`.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from worker.settings.types import Secret

MAX_QUEUED_LINES = 10_000
MAX_TEXT_CHARS = 1_000
MAX_KEY_CHARS = 64
MAX_DEPTH = 4
FLUSH_SECONDS = 1.0

_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_.]")
# Control characters, line and paragraph separators, marks that change the direction of text, and
# halves of surrogate pairs.
_NOT_INERT = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Stream(Protocol):
    """A text stream to write lines to."""

    def write(self, text: str, /) -> Any: ...
    def flush(self) -> None: ...


class LineWriter:
    """Accepts lines without ever blocking; a thread writes them."""

    def __init__(self, stream: Stream, lines: int = MAX_QUEUED_LINES) -> None:
        self.dropped = 0  # lines lost so far because nobody read
        self._stream = stream
        self._lines = lines
        self._reported = 0
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.Queue[str] = queue.Queue(self._lines)
        threading.Thread(
            target=self._write_all, args=(self._queue,), name="log-writer", daemon=True
        ).start()

    def __call__(self, line: str) -> None:
        if self._pid != os.getpid():  # forked: the thread stayed behind
            self._begin()
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def flush(self, timeout: float = FLUSH_SECONDS) -> bool:
        """Waits at most `timeout` seconds until everything is written; returns whether it is."""
        deadline = time.monotonic() + timeout
        while self._queue.unfinished_tasks and self._pid == os.getpid():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def _write_all(self, lines: queue.Queue[str]) -> None:
        while True:
            line = lines.get()
            try:
                self._stream.write(line + "\n" + self._loss())
                if lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # the reader has gone, or the stream was closed at exit
                self.dropped += 1
            finally:
                lines.task_done()

    def _loss(self) -> str:
        lost, self._reported = self.dropped - self._reported, self.dropped
        return (
            json.dumps({"event": "log lines dropped", "level": "warning", "count": lost}) + "\n"
            if lost
            else ""
        )


def configure(
    format: Literal["json", "console"] | None, process: str, *, stream: Stream | None = None
) -> LineWriter:
    """Sets up structlog and the standard library's logging for this process.

    With `format` None, it is console on a terminal and JSON otherwise.
    """
    target = stream or sys.stdout
    terminal = bool(getattr(target, "isatty", lambda: False)())
    writer = LineWriter(stream or _without_buffer(sys.stdout))
    console = format == "console" or (format is None and terminal)
    render = (
        structlog.dev.ConsoleRenderer(colors=terminal, timestamp_key="at") if console else _as_json
    )
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _AddProcess(process),
        add_exception_places,
        make_inert,
        render,
    ]
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _LineLogger(writer),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_ForwardHandler()], level=logging.WARNING, force=True)
    atexit.register(writer.flush)
    return writer


def _without_buffer(stream: TextIO) -> Stream:
    """The stream's file written to directly; the stream itself if it has none.

    Python empties the buffer of its standard output when it ends, and would wait for ever for a
    reader that does not come.
    """
    try:
        return _Unbuffered(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return stream


class _Unbuffered:
    def __init__(self, file: int) -> None:
        self._file = file

    def write(self, text: str, /) -> object:
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        while rest:
            rest = rest[os.write(self._file, rest) :]
        return None

    def flush(self) -> None:
        """Nothing is kept back."""


def make_inert(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escapes everything in keys and values that a terminal or log reader would act upon."""
    return {_sanitize_key(key): _sanitize(value, MAX_DEPTH) for key, value in event.items()}


def add_exception_places(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replaces `exc_info` by `error` (the type) and `places` (innermost first), no message."""
    info = event.pop("exc_info", None)
    error = (
        info
        if isinstance(info, BaseException)
        else info[1]
        if isinstance(info, tuple)
        else sys.exc_info()[1]
        if info
        else None
    )
    if error is not None:
        frames = traceback.extract_tb(error.__traceback__)[::-1][:8]
        event.setdefault("error", type(error).__name__)
        event["places"] = [
            f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames
        ]
    return event


class _AddProcess:
    """Adds the name and id of the process that logs."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {"process": self._process, "pid": os.getpid()} | dict(event)


class _LineLogger:
    """Takes structlog's finished lines, whatever their level."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.fatal = (
            self.msg
        ) = writer


class _ForwardHandler(logging.Handler):
    """Logs the first line of libraries' warnings; the rest is often a traceback and its message."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = record.getMessage().splitlines() or [""]
            log = structlog.get_logger()
            log.log(
                record.levelno, lines[0][:300], logger=record.name, exc_info=record.exc_info or None
            )
        except Exception:
            self.handleError(record)


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    first = {key: event.pop(key, None) for key in ("at", "level", "event")}
    return json.dumps(first | dict(event), ensure_ascii=False, separators=(",", ":"))


def _sanitize_key(key: object) -> str:
    return _NOT_IN_KEYS.sub("_", str(key)[:MAX_KEY_CHARS]) or "_"


def _sanitize(value: object, depth: int) -> object:
    if isinstance(value, Secret):
        return "***"
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if depth and isinstance(value, Mapping):
        return {
            _sanitize_key(key): _sanitize(item, depth - 1)
            for key, item in list(value.items())[:100]
        }
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_sanitize(item, depth - 1) for item in list(value)[:100]]
    return _escape(str(value))


def _escape(text: str) -> str:
    cut = text if len(text) <= MAX_TEXT_CHARS else text[:MAX_TEXT_CHARS] + "…"
    return _NOT_INERT.sub(lambda sign: f"\\u{ord(sign[0]):04x}", cut)
