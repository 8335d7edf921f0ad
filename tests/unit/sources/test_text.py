"""Text from strangers, made safe to keep."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sources.fields.text import clean_label, clean_line, clean_text


@pytest.mark.parametrize(
    ("sent", "cleaned"),
    [
        ("  a\r\nb\rc \n", "a\nb\nc"),
        ("a\x00\x1b[31mb\x7f\x85c", "a[31mb\nc"),
        ("e\u0301", "é"),
        ("a\ud800b", "a\ufffdb"),
        ("a\u2028b\tc", "a\nb\tc"),
    ],
)
def test_clean(sent: str, cleaned: str) -> None:
    """Line feeds and tabs stay; control characters and lone surrogates do not."""
    assert clean_text(sent) == cleaned


@pytest.mark.parametrize(
    ("sent", "cleaned"),
    [("A\u200bnn \u202eLee\u202c", "Ann Lee"), ("a \n\t b", "a b"), ("\ufeffx\u00ad", "x")],
)
def test_line(sent: str, cleaned: str) -> None:
    """One line, without invisible characters."""
    assert clean_line(sent) == cleaned


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text(sent: str) -> None:
    """Clean text is NFC, encodes as UTF-8, and does not change when cleaned again."""
    for cleaned in (clean_text(sent), clean_line(sent), clean_label(sent)):
        cleaned.encode("utf-8")
        assert unicodedata.is_normalized("NFC", cleaned)
    assert clean_text(clean_text(sent)) == clean_text(sent)


def test_marks_take_linear_time() -> None:
    """A long run of combining marks, quadratic to normalise, costs no more than other text."""
    started = time.thread_time()
    assert len(clean_text("e" + "\u0301\u0316" * 25_000)) < 100
    assert time.thread_time() - started < 0.5
