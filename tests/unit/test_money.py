from __future__ import annotations

import pytest

from worker.lead.money import (
    CURRENCIES,
    CURRENCIES_OF_SIGN,
    CURRENCY_OF_COUNTRY,
    CURRENCY_OF_SIGN,
    FACTOR_BY_WORD,
    currency_code,
    parse_money,
)
from worker.lead.typed_text import fold_letters, normalize_typed


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
        ("1200,0000", 1200, None),
        ("Rs.50", 50, "INR"),
        ("5 tkr", 5000, "SEK"),
        ("5 MFt", 5_000_000, "HUF"),
        ("1.234.567", 1234567, None),
        ("12,34,567.80", 1234567.8, None),
        ("12.500 KWD", 12.5, "KWD"),
        ("12,500 KWD", 12500, "KWD"),
        ("-5", -5, None),
        ("0", 0, None),
        ("12", 12, None),
        ("5000 Euro", 5000, "EUR"),
        ("1200 kr.", 1200, "SEK"),
        ("€ 5.900,-", 5900, "EUR"),
        ("kr 500,-", 500, "SEK"),
        ("5 000:-", 5000, None),
        ("Rs. 12,34,567/-", 1234567, "INR"),
        ("1 200 000 Kč", 1_200_000, "CZK"),
        ("5000 złotych", 5000, "PLN"),
        ("5000 dólares", 5000, "USD"),
        ("R$ 1.500,00", 1500, "BRL"),
        ("500 $ US", 500, "USD"),
        ("$500 USD", 500, "USD"),
        ("$1,200 CAD", 1200, "CAD"),
        ("€ 5 €", 5, "EUR"),
        ("-500 €", -500, "EUR"),
        ("€ -500", -500, "EUR"),
        ("-€500", -500, "EUR"),
        # Factors.
        ("10k", 10_000, None),
        ("1.5M", 1_500_000, None),
        ("2,5 Mio. €", 2_500_000, "EUR"),
        ("2.3 million USD", 2_300_000, "USD"),
        ("2 millones de euros", 2_000_000, "EUR"),
        ("1 million d'euros", 1_000_000, "EUR"),
        ("5 mln zł", 5_000_000, "PLN"),
        ("10 tys. zł", 10_000, "PLN"),
        ("50 k€", 50_000, "EUR"),
        ("50 TEUR", 50_000, "EUR"),
        ("TEUR 50", 50_000, "EUR"),
        ("3 Mrd. EUR", 3_000_000_000, "EUR"),
        ("12 lakh", 1_200_000, None),
        ("500万円", 5_000_000, "JPY"),
        # Taxes.
        ("500 EUR netto", 500, "EUR"),
        ("500 € zzgl. MwSt.", 500, "EUR"),
        ("500 EUR (excl. VAT)", 500, "EUR"),
        ("500 € HT", 500, "EUR"),
        # Digits and marks of other scripts.
        ("۵۰۰۰", 5000, None),
        ("٥٬٠٠٠٫٥٠ €", 5000.5, "EUR"),
        ("١٢٫٣٤٥", 12.345, None),
        ("５０００円", 5000, "JPY"),
    ],
)
def test_reads(text: str, amount: float, currency: str | None) -> None:
    """A sum is read in either custom of writing it, with the currency it names."""
    assert parse_money(text) == (amount, currency, True)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "abc", "5000-10000", "5000 - 10000", "5000\u201310000", "about 5000", "ca. 5000", "~5000", "5000?", "up to 500", "max. 500", "from 500", "ab 500 EUR",
        "5000+", "> 5000", "1,2,3", "1.2.3",
        "1,20,3", "1,2.3,4", "12.", ",5", "1 2", "€", "€ 5 $", "EUR 5 USD", "5 XYZ", "1e5", "0x10",
        "nan", "inf",
        "5\n6", "9" * 65, "1" + "0" * 20,
        "5-10k", "5k-10k", "1.5-2M", "10 000 - 20 000 €", "5k+", "500 EUR plus", "under 500",
        "(500)", "500-", "--500", "EUR-500", "+500", "500 people", "5 t", "10%", "5\u00b2", "1½ Mio",
        "500 kroner", "500 pesos", "5 billion", "5 mil", "1,200k", "1.200 Mio",
        "500 pro Monat", "500 EUR p.a.", "5 000 € par mois", "500 EUR/h", "24.12.2026", "09:30",
        "1,200 EUR/month", "1.200,50.30", "1'200,300'400",
        # A fraction, a slider's ends, a month's rate, days of March.
        ".50", "$.50", "€ .99", ",50", "5000,10000", "500,1000", "500 mtl", "500 mtl.", "24 mars",
    ],
)  # fmt: skip
def test_no_number(text: str) -> None:
    """What is no single number is not guessed at."""
    assert parse_money(text) is None


@pytest.mark.parametrize(
    ("text", "country", "currency"),
    [
        ("5000 kr", "NO", "NOK"),
        ("5000 kr", "DE", "SEK"),
        ("500 kroner", "DK", "DKK"),
        ("$5", "CA", "CAD"),
        ("US$ 5", "CA", "USD"),
        ("$5 USD", "CA", "USD"),
        ("5000 pesos", "MX", "MXN"),
        ("Rs 500", "PK", "PKR"),
    ],
)
def test_the_country_decides(text: str, country: str, currency: str) -> None:
    """A sign that several currencies share is that of the country, if it has one of them."""
    money = parse_money(text, country=country)
    assert money is not None
    assert money.currency == currency


@pytest.mark.parametrize(
    ("text", "expected", "agrees"),
    [
        ("$5", "EUR", False),
        ("$5", "CAD", True),
        ("5 EUR", "EUR", True),
        ("5 USD", "EUR", False),
        ("5", "EUR", True),
        ("5 kr", "NOK", True),
        ("5 kroner", "NOK", True),
    ],
)
def test_agrees(text: str, expected: str, agrees: bool) -> None:
    """Text with another currency than the expected one says so; a shared sign fits all its own."""
    money = parse_money(text, expected)
    assert money is not None
    assert money.agrees is agrees


def test_tables_are_sound() -> None:
    """Every sign stands for a known currency, and a shared sign for one of those that share it."""
    assert set(CURRENCY_OF_SIGN.values()) <= CURRENCIES
    assert all(
        codes <= CURRENCIES and CURRENCY_OF_SIGN.get(sign, min(codes)) in codes
        for sign, codes in CURRENCIES_OF_SIGN.items()
    )
    assert set(CURRENCY_OF_COUNTRY.values()) <= CURRENCIES
    words = (*CURRENCY_OF_SIGN, *CURRENCIES_OF_SIGN, *FACTOR_BY_WORD)
    assert [word for word in words if fold_letters(normalize_typed(word)) != word] == []
    assert currency_code(" eur ") == "EUR"
    assert currency_code("kr", "NO") == "NOK"
    assert currency_code("XAU") is None
