from __future__ import annotations

from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from worker.pipedrive.custom_fields import EncodingContext, FieldInfo, Option

KEY = "dcf558aac1ae4e8c4f849ba5e668430d8df9be12"
OPTIONS = [Option(11, "Low"), Option(12, "High"), Option(13, "Food, drink"), Option(14, "7")]
NOTHING = object()


def info(type: str, entity: Literal["lead", "person"] = "lead") -> FieldInfo:
    return FieldInfo(key=KEY, name="Any", type=type, entity=entity, options=OPTIONS)


@pytest.mark.parametrize(
    ("type", "text", "lead", "person"),
    [
        ("varchar", " x ", "x", "x"),
        ("varchar", "x" * 255, "x" * 255, "x" * 255),
        ("varchar_auto", "x", "x", "x"),
        ("text", "a\nb", "a\nb", "a\nb"),
        ("phone", "+49 170 1", "+49 170 1", "+49 170 1"),
        ("double", "12", 12, 12),
        ("double", "-1.25", -1.25, -1.25),
        ("double", "1.200", 1.2, 1.2),
        ("double", "1,200", 1200, 1200),
        ("double", "1.200,5", 1200.5, 1200.5),
        ("double", "10k", 10000, 10000),
        ("double", "۱۲", 12, 12),
        ("int", "12", 12, 12),
        ("int", "1.5 million", 1_500_000, 1_500_000),
        ("int", "12.0", 12, 12),
        ("enum", "high", 12, 12),
        ("enum", "12", 12, 12),
        ("enum", "7", 14, 14),
        ("set", "Low", "11", [11]),
        ("set", "low, HIGH; Low", "11,12", [11, 12]),
        ("set", "Food, drink", "13", [13]),
        ("set", "11\n12", "11,12", [11, 12]),
        ("boolean", "yes", True, True),
        ("boolean", "False", False, False),
        ("date", "2025-01-31", "2025-01-31", "2025-01-31"),
        ("date", "2025-01-31T10:00:00Z", "2025-01-31", "2025-01-31"),
        ("date", "24.12.2026", "2026-12-24", "2026-12-24"),
        ("date", "Dec 24, 2026", "2026-12-24", "2026-12-24"),
        ("time", "9:30", "09:30:00", {"value": "09:30:00"}),
        ("time", "9.30", "09:30:00", {"value": "09:30:00"}),
        ("time", "17.45 Uhr", "17:45:00", {"value": "17:45:00"}),
        ("time", "09:30:15", "09:30:15", {"value": "09:30:15"}),
        ("address", "Main St 1, Berlin", "Main St 1, Berlin", {"value": "Main St 1, Berlin"}),
        ("user", "12", 12, 12),
        ("people", "12", 12, 12),
        ("org", "12", 12, 12),
    ],
)
def test_one_value(type: str, text: str, lead: Any, person: Any) -> None:
    """Text becomes the value that its field takes: in v1 form for leads, in v2 form for persons."""
    assert info(type).encode(text) == {KEY: lead}
    assert info(type, "person").encode(text) == {KEY: person}


@pytest.mark.parametrize(
    ("type", "text", "lead", "person"),
    [
        (
            "monetary",
            "500 EUR",
            {KEY: 500, f"{KEY}_currency": "EUR"},
            {KEY: {"value": 500, "currency": "EUR"}},
        ),
        (
            "monetary",
            "$1,200.50",
            {KEY: 1200.5, f"{KEY}_currency": "USD"},
            {KEY: {"value": 1200.5, "currency": "USD"}},
        ),
        (
            "daterange",
            "2025-01-01 - 2025-02-01",
            {KEY: "2025-01-01", f"{KEY}_until": "2025-02-01"},
            {KEY: {"value": "2025-01-01", "until": "2025-02-01"}},
        ),
        (
            "daterange",
            "2025-01-01/2025-02-01",
            {KEY: "2025-01-01", f"{KEY}_until": "2025-02-01"},
            {KEY: {"value": "2025-01-01", "until": "2025-02-01"}},
        ),
        (
            "monetary",
            "€ 5.900,-",
            {KEY: 5900, f"{KEY}_currency": "EUR"},
            {KEY: {"value": 5900, "currency": "EUR"}},
        ),
        (
            "monetary",
            "-2,5 Mio. €",
            {KEY: -2_500_000, f"{KEY}_currency": "EUR"},
            {KEY: {"value": -2_500_000, "currency": "EUR"}},
        ),
        (
            "daterange",
            "24.12.2026 bis 26.12.2026",
            {KEY: "2026-12-24", f"{KEY}_until": "2026-12-26"},
            {KEY: {"value": "2026-12-24", "until": "2026-12-26"}},
        ),
        (
            "timerange",
            "9.30\u201317.45 Uhr",
            {KEY: "09:30:00", f"{KEY}_until": "17:45:00"},
            {KEY: {"value": "09:30:00", "until": "17:45:00"}},
        ),
        (
            "timerange",
            "22:00 to 6:00",
            {KEY: "22:00:00", f"{KEY}_until": "06:00:00"},
            {KEY: {"value": "22:00:00", "until": "06:00:00"}},
        ),
    ],
)
def test_companions(type: str, text: str, lead: dict[str, Any], person: dict[str, Any]) -> None:
    """Types of two parts have a companion key for leads and an object for persons."""
    assert info(type).encode(text) == lead
    assert info(type, "person").encode(text) == person


def test_the_context_decides() -> None:
    """Country and zone say which date a text is, and the account which currencies there are."""
    context = EncodingContext(
        country="US", zone=ZoneInfo("America/New_York"), has_currency={"USD"}.__contains__
    )
    assert info("date").encode("03/04/2027", context) == {KEY: "2027-03-04"}
    assert info("date").encode("2026-12-24T02:00Z", context) == {KEY: "2026-12-23"}
    assert info("time").encode("2026-12-24T02:00Z", context) == {KEY: "21:00:00"}
    assert info("monetary").encode("500", context) == {KEY: 500}
    assert info("monetary").encode("$500", context) == {KEY: 500, f"{KEY}_currency": "USD"}
    with pytest.raises(ValueError, match="a currency of the account, got HUF"):
        info("monetary").encode("500 HUF", context)


def test_sum_without_currency() -> None:
    """A lead's sum may leave the currency to the account; a person's must name it."""
    assert info("monetary").encode("500") == {KEY: 500}
    with pytest.raises(ValueError, match="with its currency"):
        info("monetary", "person").encode("500")


@pytest.mark.parametrize(
    ("type", "text", "words"),
    [
        ("varchar", "secretive" * 29, "up to 255 characters, got 261"),
        ("phone", "1" * 256, "up to 255"),
        ("address", "x" * 256, "up to 255"),
        ("text", "x" * 65_001, "up to 65000"),
        ("double", "secretive", "expected a number"),
        ("double", "5-10", "expected a number"),
        ("double", "5 EUR", "expected a number"),
        ("double", "nan", "expected a number"),
        ("double", "1e5", "expected a number"),
        ("double", "9" * 30, "expected a number"),
        ("int", "1.5", "expected a whole number"),
        ("monetary", "secretive", "expected an amount"),
        ("enum", "secretive", r"one of the field's options \('Low', 'High', 'Food, drink', '7'\)"),
        ("enum", "Low, High", "one of the field's options"),
        ("set", "Low, secretive", "one of the field's options"),
        ("set", ",", "expected options"),
        ("boolean", "secretive", "yes or no"),
        ("date", "03/04/2027", "a date such as"),
        ("monetary", "5000-10000 EUR", "expected an amount"),
        ("monetary", "up to 500 EUR", "expected an amount"),
        ("date", "2025-02-30", "a date such as"),
        ("daterange", "2025-01-01", "a start and an end"),
        ("daterange", "2025-02-01/2025-01-01", "a start before the end"),
        ("time", "25:00", "a time such as"),
        ("time", "9", "a time such as"),
        ("timerange", "9:00", "a start and an end"),
        ("user", "secretive", "expected an id"),
        ("varchar", "  ", "no text"),
        ("json", "{}", "'json' cannot be written"),
        ("", "x", "cannot be written"),
    ],
)
def test_misfits(type: str, text: str, words: str) -> None:
    """What does not fit is said in plain words that do not quote what somebody typed."""
    with pytest.raises(ValueError, match=words) as caught:
        info(type).encode(text)
    assert "secretive" not in str(caught.value)
