"""Logs: one inert line per event, never blocking, never a message that quotes a stranger."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.polling import eventually
from worker.logs import LineWriter, configure
from worker.settings.types import Secret


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO, writer: LineWriter) -> list[dict[str, Any]]:
    assert writer.flush(5)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_one_json_line_per_event() -> None:
    """An event is one line of JSON with its time in UTC, level, process and fields."""
    stream = io.StringIO()
    writer = configure("json", "serve", stream=stream)
    structlog.get_logger().info("accepted", submission_id="01J", duration_ms=3)
    (line,) = lines(stream, writer)
    assert (
        line["event"],
        line["level"],
        line["process"],
        line["submission_id"],
        line["duration_ms"],
    ) == (
        "accepted",
        "info",
        "serve",
        "01J",
        3,
    )
    assert line["at"].endswith("Z")


@pytest.mark.parametrize(
    "text", ["a\nb", "\x1b[2J", "\u2028", "\u202egnp.exe", "\x9b31m", "\ud800", "\r", "\x00"]
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_text_is_inert(text: str, form: Any) -> None:
    """No character that a terminal or a log reader acts upon gets through, in keys or in values."""
    stream = io.StringIO()
    writer = configure(form, "serve", stream=stream)
    structlog.get_logger().warning(f"seen {text}", **{f"k{text}": [text, {text: text}]})
    assert writer.flush(5)
    assert stream.getvalue().count("\n") == 1
    assert text not in stream.getvalue().rstrip("\n")
    stream.getvalue().encode()


def test_values_are_bounded_and_secrets_hidden() -> None:
    """Long text is cut, bytes are counted, secrets become stars, odd numbers stay JSON."""
    stream = io.StringIO()
    writer = configure("json", "work", stream=stream)
    structlog.get_logger().info(
        "x", long="y" * 5000, raw=b"abc", token=Secret("hunter2"), odd=float("inf")
    )
    (line,) = lines(stream, writer)
    assert len(line["long"]) < 1100
    assert (line["raw"], line["token"], line["odd"]) == ("<3 bytes>", "***", "inf")


def test_exceptions_without_their_message() -> None:
    """An exception is its type and its places: the message may quote a submission."""
    stream = io.StringIO()
    writer = configure("json", "work", stream=stream)
    try:
        raise ValueError("ann@example.com is odd")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(stream, writer)
    assert line["error"] == "ValueError"
    assert "test_logs.py" in line["places"][0]
    assert "ann@" not in stream.getvalue()


def test_libraries_by_their_first_line() -> None:
    """Libraries' warnings become events, without an appended traceback; lower levels are dropped."""
    stream = io.StringIO()
    writer = configure("json", "work", stream=stream)
    logging.getLogger("rq.worker").error("job %s failed\nTraceback: ann@example.com", "01J")
    logging.getLogger("httpx").info("GET https://h/?api_token=secret")
    (line,) = lines(stream, writer)
    assert (line["event"], line["logger"], line["level"]) == (
        "job 01J failed",
        "rq.worker",
        "error",
    )


class BlockedStream(io.StringIO):
    """A stream whose reader waits until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.Event()

    def write(self, text: str) -> int:
        self.reading.wait(30)
        return super().write(text)


def test_a_blocked_reader_blocks_nobody() -> None:
    """While nobody reads, lines are dropped and counted without blocking; the count comes later."""
    stream = BlockedStream()
    writer = LineWriter(stream, lines=10)
    for number in range(100):
        writer(f'{{"event":"{number}"}}')
    assert 85 <= writer.dropped <= 90
    assert not writer.flush(0.05)
    stream.reading.set()
    assert eventually(lambda: "log lines dropped" in stream.getvalue())
    assert writer.flush(5)
    logged = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert sum(line.get("count", 0) for line in logged) == writer.dropped


def test_a_closed_stream_is_survived() -> None:
    """A reader that has gone costs lines, never an exception."""
    stream = io.StringIO()
    writer = LineWriter(stream)
    stream.close()
    writer("x")
    assert writer.flush(5)
    assert writer.dropped == 1
