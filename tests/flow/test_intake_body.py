"""Reading a body from an ASGI server: in time, within bounds, to the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.web.body import media_type, read_body
from service.web.problems import HttpProblem


def sender(*messages: dict[str, Any]) -> Any:
    """Hands out the messages, then says nothing for ever."""
    waiting = list(messages)

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("messages", "body"),
    [
        ([part(b"", more=False)], b""),
        ([{"type": "http.request", "body": b"abc"}], b"abc"),
        ([part(b"ab"), part(b""), part(b"cd", more=False)], b"abcd"),
        ([part(b"a" * 10, more=False)], b"a" * 10),
    ],
)
def test_the_parts_make_the_body(messages: list[dict[str, Any]], body: bytes) -> None:
    """Parts are joined in order; exactly the limit is allowed."""
    assert asyncio.run(read_body(sender(*messages), 10)) == body


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ([part(b"a" * 11, more=False)], "too-large"),
        ([part(b"a" * 6), part(b"a" * 6)], "too-large"),
        ([GONE], "incomplete"),
        ([part(b"abc"), GONE], "incomplete"),
        ([], "too-slow"),
        ([part(b"abc")], "too-slow"),
    ],
)
def test_what_goes_wrong_with_a_body(messages: list[dict[str, Any]], kind: str) -> None:
    """Too much is refused as soon as it is seen, a hang-up and a stall each by their own name."""
    with pytest.raises(HttpProblem) as caught:
        asyncio.run(read_body(sender(*messages), 10, seconds=0.01))
    assert caught.value.kind == kind
    assert caught.value.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("application/json", "application/json"),
        (" Application/JSON ; charset=utf-8", "application/json"),
        ("", ""),
        (";", ""),
    ],
)
def test_the_media_type_is_the_part_before_the_parameters(header: str, kind: str) -> None:
    """In lower case, without white space."""
    assert media_type(header) == kind
