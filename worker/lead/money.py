"""Money as people type it into forms: `1.200,50 €`, `EUR 1,200.50`, `1'200.-`."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

# ISO 4217 codes of money, without metals, test codes and funds. ANG and BGN stay for accounts that
# still hold old amounts.
CURRENCIES = frozenset(
    """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN
    BZD CAD CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL
    GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW
    KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN
    NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK
    SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS
    VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 -- 160 quoted codes are no easier to check
)
THREE_DECIMAL_CURRENCIES = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
CURRENCY_OF_SIGN = {
    "€": "EUR", "euro": "EUR", "euros": "EUR", "$": "USD", "us$": "USD", "dollar": "USD",
    "dollars": "USD",
    "£": "GBP", "pound": "GBP", "pounds": "GBP", "¥": "JPY", "₹": "INR", "rs": "INR", "₽": "RUB",
    "₺": "TRY", "₩": "KRW",
    "₪": "ILS", "₫": "VND", "₴": "UAH", "₦": "NGN", "₱": "PHP", "฿": "THB", "zł": "PLN",
    "kč": "CZK", "r$": "BRL",
    "c$": "CAD", "a$": "AUD", "fr": "CHF", "sfr": "CHF", "kr": "SEK", "ft": "HUF", "lei": "RON",
}  # fmt: skip
# Signs that several currencies share; by default a sign means the one in `CURRENCY_OF_SIGN`.
CURRENCIES_OF_SIGN = {
    "$": frozenset({"USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN", "ARS", "CLP", "COP"}),
    "¥": frozenset({"JPY", "CNY"}),
    "£": frozenset({"GBP", "EGP", "GIP"}),
    "kr": frozenset({"SEK", "NOK", "DKK", "ISK"}),
    "rs": frozenset({"INR", "PKR", "LKR", "NPR"}),
}
MAX_MONEY_CHARS = 64
MAX_AMOUNT = 1e15


class ParsedMoney(NamedTuple):
    """An amount, and the currency that the text itself names, or None.

    `agrees` says whether that currency fits the expected one.
    """

    amount: float
    currency: str | None
    agrees: bool = True


_SIGN = r"[^\d\s.,'+-]{1,8}\.?"
_MONEY = re.compile(
    rf"(?P<sign>-?)\s*(?P<before>{_SIGN})?\s*(?P<number>\d[\d.,'"
    rf" ]*?)(?:[.,]-{{1,2}})?\s*(?P<after>{_SIGN})?",
    re.ASCII,
)
_PLAIN = str.maketrans(
    {
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
    }
)


def parse_money(text: str, expected: str | None = None) -> ParsedMoney | None:
    """Return the amount that a text states, or None if it is not a single number.

    `5000-10000` and `about 5` give None. `expected` is an ISO 4217 code.
    """
    if len(text) > MAX_MONEY_CHARS:
        return None
    match = _MONEY.fullmatch(_normalize(text))
    if not match or (match["before"] and match["after"]):
        return None
    sign = (match["before"] or match["after"] or "").rstrip(".").casefold()
    currency = currency_code(sign)
    if sign and currency is None:
        return None
    number = _parse_number(
        match["number"], three_decimals=(expected or currency) in THREE_DECIMAL_CURRENCIES
    )
    if number is None or number > MAX_AMOUNT:
        return None
    agrees = (
        not expected
        or not currency
        or expected == currency
        or expected in CURRENCIES_OF_SIGN.get(sign, ())
    )
    return ParsedMoney(-number if match["sign"] else number, currency, agrees)


def currency_code(text: str) -> str | None:
    """Return the ISO 4217 code of a code or sign (`eur`, `€`), or None."""
    name = text.strip().casefold()
    return name.upper() if name.upper() in CURRENCIES else CURRENCY_OF_SIGN.get(name)


def _normalize(text: str) -> str:
    """Return the text with plain spaces, apostrophes, minus signs and digits."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_PLAIN).split())


def _parse_number(digits: str, *, three_decimals: bool) -> float | None:
    """Parse a number whose separators may follow either convention.

    1. If both `.` and `,` occur, the last one is the decimal mark and the other groups digits.
    2. If only one of them occurs, several times, it groups digits.
    3. A single mark before exactly three digits groups digits (`1.200`), unless the number starts
       with 0, or the currency has three decimals and the mark is a point (`12.500` dinars).
    4. Any other single mark is the decimal mark.
    """
    marks = [mark for mark in digits if mark in ".,"]
    decimal = ""
    if len(set(marks)) == 2:
        decimal = marks[-1]
    elif len(marks) == 1:
        whole, _, rest = digits.partition(marks[0])
        thousandths = three_decimals and marks[0] == "."
        groups = len(rest) == 3 and 1 <= len(whole) <= 3 and whole != "0" and not thousandths
        decimal = "" if groups else marks[0]
    if decimal and digits.count(decimal) > 1:
        return None
    whole, _, fraction = digits.partition(decimal) if decimal else (digits, "", "")
    if not _GROUPED.fullmatch(whole) or (decimal and not _DIGITS.fullmatch(fraction)):
        return None
    return float("".join(c for c in whole if c not in ".,' ") + "." + (fraction or "0"))


_DIGITS = re.compile(r"[0-9]+")
_GROUPED = re.compile(
    r"[0-9]+|[0-9]{1,3}(?:(?P<mark>[.,' ])[0-9]{2,3}(?:(?P=mark)[0-9]{2,3})*(?<=[0-9]{3}))"
)
