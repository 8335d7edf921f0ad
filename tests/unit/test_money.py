from __future__ import annotations

import pytest

from worker.lead.money import (
    CURRENCIES,
    CURRENCIES_OF_SIGN,
    CURRENCY_OF_SIGN,
    currency_code,
    parse_money,
)


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("1200", 1200, None),
        ("1200.5", 1200.5, None),
        ("1.200,50 €", 1200.5, "EUR"),
        ("EUR 1,200.50", 1200.5, "EUR"),
        ("eur1,200.50", 1200.5, "EUR"),
        ("$1,200", 1200, "USD"),
        ("US$ 1,200.00", 1200, "USD"),
        ("1 200", 1200, None),
        ("1\u00a0200,5", 1200.5, None),
        ("1\u202f200\u202f000,00 €", 1_200_000, "EUR"),
        ("1'200.-", 1200, None),
        ("CHF 1\u2019200.--", 1200, "CHF"),
        ("Fr. 99", 99, "CHF"),
        ("1.200", 1200, None),
        ("1,200", 1200, None),
        ("0.500", 0.5, None),
        ("1234,567", 1234.567, None),
        ("12,5", 12.5, None),
        ("12.5000", 12.5, None),
        ("1.234.567", 1234567, None),
        ("12,34,567.80", 1234567.8, None),
        ("12.500 KWD", 12.5, "KWD"),
        ("12,500 KWD", 12500, "KWD"),
        ("-5", -5, None),
        ("0", 0, None),
        ("12", 12, None),
        ("5000 Euro", 5000, "EUR"),
        ("1200 kr.", 1200, "SEK"),
    ],
)
def test_reads(text: str, amount: float, currency: str | None) -> None:
    """A sum is read in either custom of writing it, with the currency it names."""
    assert parse_money(text) == (amount, currency, True)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "abc", "5000-10000", "5000 - 10000", "5000\u201310000", "about 5000", "5k",
        "5000+", "> 5000", "1,2,3", "1.2.3",
        "1,20,3", "1,2.3,4", "12.", ",5", "1 2", "€", "€ 5 €", "EUR 5 USD", "5 XYZ", "1e5", "0x10",
        "nan", "inf",
        "٣", "5\n6", "9" * 65, "1" + "0" * 20,
        "1,200 EUR/month", "1.200,50.30", "1'200,300'400",
    ],
)  # fmt: skip
def test_no_number(text: str) -> None:
    """What is no single number is not guessed at."""
    assert parse_money(text) is None


@pytest.mark.parametrize(
    ("text", "expected", "agrees"),
    [
        ("$5", "EUR", False),
        ("$5", "CAD", True),
        ("5 EUR", "EUR", True),
        ("5 USD", "EUR", False),
        ("5", "EUR", True),
        ("5 kr", "NOK", True),
    ],
)
def test_agrees(text: str, expected: str, agrees: bool) -> None:
    """Text with another currency than the expected one says so; a shared sign fits all its own."""
    money = parse_money(text, expected)
    assert money is not None
    assert money.agrees is agrees


def test_tables_are_sound() -> None:
    """Every sign stands for a known currency, and a shared sign for its own as well."""
    assert set(CURRENCY_OF_SIGN.values()) <= CURRENCIES
    assert all(
        codes <= CURRENCIES and CURRENCY_OF_SIGN[sign] in codes
        for sign, codes in CURRENCIES_OF_SIGN.items()
    )
    assert currency_code(" eur ") == "EUR"
    assert currency_code("XAU") is None
