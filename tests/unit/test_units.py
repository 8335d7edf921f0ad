"""Durations and sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("10s", 10),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("2 d", 172_800),
        ("1W", 604_800),
        ("250ms", 0.25),
        (" 5m ", 300),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a sum of numbers with units."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "1x",
        "1h 2",
        "-1s",
        "1e3s",
        "١s",
        "1 month",
        "9" * 13 + "s",
        "1s" * 2000 + "!",
    ],
)
def test_no_durations(text: str) -> None:
    """Anything else is refused in plain words."""
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("256KiB", 262_144),
        ("256 kib", 262_144),
        ("1.5M", 1_572_864),
        ("10MB", 10_000_000),
        ("7b", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """Sizes are bytes; KiB counts 1024, KB 1000."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "KiB", "1TiBs", "-1", "1 2", "0x10", "٣"])
def test_no_sizes(text: str) -> None:
    """Anything else is refused in plain words."""
    with pytest.raises(ValueError, match="expected a size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=10**9))
def test_showing(number: int) -> None:
    """What is shown reads back as the same."""
    assert parse_size(format_size(number)) == number
    assert parse_duration(format_duration(number % 10**6)) == number % 10**6
