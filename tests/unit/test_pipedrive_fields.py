from __future__ import annotations

from typing import Any, Literal

import pytest

from worker.pipedrive.custom_fields import FieldInfo, Option

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
        ("int", "12", 12, 12),
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
        ("time", "9:30", "09:30:00", {"value": "09:30:00"}),
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
        ("date", "31.01.2025", "a date such as"),
        ("date", "2025-02-30", "a date such as"),
        ("daterange", "2025-01-01", "a start and an end"),
        ("daterange", "2025-02-01/2025-01-01", "a start before the end"),
        ("time", "25:00", "a time such as"),
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
