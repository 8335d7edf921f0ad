"""Percent escapes decode as in the standard library, and quicker."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.payload.decode import decode_percent

PIECES = st.sampled_from(
    [
        b"%",
        b"%%",
        b"%" * 9,
        b"%4",
        b"%41",
        b"%zz",
        b"=",
        b"=41",
        b"\r\n",
        b"\n",
        b" ",
        b"\t",
        b"_",
        b".",
        b"a",
        b"\xff",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=3), max_size=30).map(b"".join))
def test_as_the_standard_library(raw: bytes) -> None:
    """Any bytes come out the same, escapes and what only looks like them."""
    assert decode_percent(raw) == unquote_to_bytes(raw)


@pytest.mark.parametrize("length", range(40))
def test_runs(length: int) -> None:
    """However many percent signs stand in a row, the last one may begin an escape."""
    for end in (b"", b"41", b"4", b"z", b"=3D"):
        raw = b"%" * length + end
        assert decode_percent(raw) == unquote_to_bytes(raw)
