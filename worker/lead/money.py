"""Money as people type it into forms: `1.200,50 €`, `USD 1,200.50`, `1'200.-`, `2,5 Mio. €`, `10k`.

A range, a limit, a rate and an estimate (`5-10k`, `up to 500`, `500 a month`, `about 500`) are not
amounts and are not read.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from worker.lead.typed_text import fold_letters, normalize_typed

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
# Signs and words, without accents and case. One that several currencies share stands under the
# currency that it means by itself, if it means one.
_SIGNS = {
    "EUR": "€; euro; euros",
    "USD": "$; us$; usd$; dollar; dollars; dolar; dolares; dollari; us dollar; us dollars; $ us",
    "GBP": "£; pound; pounds; pfund; pond; pound sterling; pounds sterling; sterline; sterlina",
    "CHF": "fr; sfr; franken; schweizer franken; swiss franc; swiss francs; franchi"
    "; franchi svizzeri; francs suisses",
    "SEK": "kr; krona; kronor; svenska kronor; swedish krona; swedish kronor",
    "NOK": "norske kroner; norwegian krone; norwegian kroner",
    "DKK": "danske kroner; danish krone; danish kroner",
    "ISK": "kronur",
    "PLN": "zl; zloty; zlote; zlotych; zlotys",
    "CZK": "kc; koruna; koruny; korun",
    "HUF": "ft; forint",
    "RON": "lei",
    "RUB": "₽; руб; рублеи; rubel; rubli; roubles",
    "UAH": "₴; грн; hryvnia",
    "TRY": "₺; tl; lira",
    "JPY": "¥; yen; 円; 日本円",
    "CNY": "yuan; rmb; 人民币",
    "KRW": "₩; won; 원",
    "INR": "₹; rs; rupee; rupees; rupien; roupies; rupias",
    "ILS": "₪; nis; shekel; shekels",
    "VND": "₫",
    "NGN": "₦; naira",
    "PHP": "₱",
    "THB": "฿; baht",
    "BRL": "r$; real; reais; reales",
    "CAD": "c$; ca$; cad$; $ ca; $ can; canadian dollar; canadian dollars",
    "AUD": "a$; au$; aud$; australian dollar; australian dollars",
    "NZD": "nz$",
    "SGD": "s$; sg$",
    "HKD": "hk$",
    "TWD": "nt$",
    "MXN": "mx$; mex$",
    "MYR": "rm; ringgit",
    "IDR": "rp; rupiah",
    "ZAR": "rand",
}
CURRENCY_OF_SIGN = {
    sign.strip(): code for code, signs in _SIGNS.items() for sign in signs.split(";")
}
# Signs that several currencies share. The lead's country decides, where it has one of them.
_DOLLARS = frozenset({"USD", "CAD", "AUD", "NZD", "SGD", "HKD", "TWD", "MXN", "ARS", "CLP", "COP"})
_CROWNS = frozenset({"SEK", "NOK", "DKK", "ISK"})
_RUPEES = frozenset({"INR", "PKR", "LKR", "NPR"})
_PESOS = frozenset({"MXN", "ARS", "CLP", "COP", "PHP", "UYU", "DOP"})
CURRENCIES_OF_SIGN = {
    "$": _DOLLARS, "dollar": _DOLLARS, "dollars": _DOLLARS, "dolares": _DOLLARS | _PESOS,
    "¥": frozenset({"JPY", "CNY"}), "元": frozenset({"CNY", "TWD"}),
    "£": frozenset({"GBP", "EGP", "GIP"}),
    "kr": _CROWNS, "krona": frozenset({"SEK", "ISK"}),
    "krone": frozenset({"NOK", "DKK"}), "kroner": frozenset({"NOK", "DKK"}),
    "rs": _RUPEES, "rupee": _RUPEES, "rupees": _RUPEES,
    "peso": _PESOS, "pesos": _PESOS, "lei": frozenset({"RON", "MDL"}),
}  # fmt: skip
CURRENCY_OF_COUNTRY = {
    "US": "USD", "CA": "CAD", "AU": "AUD", "NZ": "NZD", "SG": "SGD", "HK": "HKD", "TW": "TWD",
    "MX": "MXN", "AR": "ARS", "CL": "CLP", "CO": "COP", "PH": "PHP", "UY": "UYU", "DO": "DOP",
    "JP": "JPY", "CN": "CNY", "GB": "GBP", "EG": "EGP", "GI": "GIP", "SE": "SEK", "NO": "NOK",
    "DK": "DKK", "IS": "ISK", "IN": "INR", "PK": "PKR", "LK": "LKR", "NP": "NPR", "RO": "RON",
    "MD": "MDL",
}  # fmt: skip

# A billion is 10^9 in some languages and 10^12 in others, and is not read.
_FACTORS = {
    1_000: "k; t; tsd; tausend; thousand; mille; mila; duizend; tys; tysiecy; tusen; tis; 千",
    10_000: "万; 萬; 만",
    100_000: "lakh; lakhs; lac; lacs",
    1_000_000: "m; mn; mm; mio; mln; million; millions; millionen; millon; millones; milione"
    "; milioni; milhao; milhoes; miljoen; miljon; miljoner; milion; miliony; milionow; mill"
    "; millioner",
    10_000_000: "crore; crores",
    100_000_000: "億; 亿; 억",
    1_000_000_000: "bn; mrd; milliarde; milliarden; milliard; milliards; miljard; mld",
}
FACTOR_BY_WORD = {
    word.strip(): factor for factor, words in _FACTORS.items() for word in words.split(";")
}
# The only words before which a factor is one letter: `5 tkr`, `5 MFt`. `500 mtl` is a month's.
_SIGNS_OF_FACTORS = frozenset({"kr", "ft"})
# Not millions of Argentine pesos or Albanian lek.
_WORDS = frozenset({"mars", "mall"})
# Between such a word and the currency: `2 millones de euros`.
_LINKS = frozenset({"de", "di", "d", "'", "of"})
# What may follow an amount without changing it.
_TAXES = frozenset(
    {
        "netto", "net", "brutto", "gross", "ht", "ttc", "hors", "vat", "mwst", "ust", "moms", "btw",
        "iva", "tva", "gst", "tax", "taxes",
    }
)  # fmt: skip
_TAX_LINKS = frozenset(
    {
        "+", "(", ")", ",", "plus", "zzgl", "inkl", "incl", "exkl", "excl", "ex", "inc",
        "including", "excluding", "inclusive", "exclusive", "ohne", "mit", "incluido", "esclusa",
        "inclusa",
    }
)  # fmt: skip

MAX_MONEY_CHARS = 64
MAX_AMOUNT = 1e15


class ParsedMoney(NamedTuple):
    """An amount, and the currency that the text itself names, or None.

    `agrees` says whether that currency fits the expected one.
    """

    amount: float
    currency: str | None
    agrees: bool = True


class _Suffix(NamedTuple):
    """What stands behind a number: a factor (1 if there is none) and the sign of a currency."""

    factor: int = 1
    sign: str = ""


_MONEY = re.compile(
    r"(?P<before>[^\d]{0,24}?)(?P<number>\d(?:[\d.,'٫ ]*\d)?)(?:[.,:] ?-{1,2}|/-)?"
    r"(?P<after>[^\d]{0,48})"
)
# `.50` and `$.50` are no 50, but `Rs.50` is.
_BARE_MARK = re.compile(r"(?<![^\W\d_])[.,]$")
_SUFFIX_WORD = re.compile(r"[^\W\d_]+\$?|[^\s.]")


def parse_money(
    text: str, expected: str | None = None, country: str | None = None
) -> ParsedMoney | None:
    """Return the amount that a text states, or None if it is not a single number.

    `expected` is an ISO 4217 code, `country` the code of the country whose `$` or `kr` it is.
    """
    match = _MONEY.fullmatch(normalize_typed(text)) if len(text) <= MAX_MONEY_CHARS else None
    suffix = _parse_suffix(match["after"]) if match else None
    if match is None or suffix is None:
        return None
    if _BARE_MARK.search(match["before"]):
        return None
    before, is_negative = _split_minus(match["before"])
    factor = suffix.factor
    if factor == 1 and not _is_sign(before) and (short := _split_factor(before)):
        factor, before = short
    sign = _join_signs(before, suffix.sign, country)
    currency = _currency_of_sign(sign, country, expected) if sign else None
    if sign is None or (sign and currency is None):
        return None
    number = _parse_number(
        match["number"], three_decimals=(expected or currency) in THREE_DECIMAL_CURRENCIES
    )
    # `1,200k` may be 1.2 million or 1,200.
    if number is None or (factor > 1 and _ONE_GROUP.fullmatch(match["number"])):
        return None
    amount = float(number * factor)
    if amount > MAX_AMOUNT:
        return None
    agrees = (
        not expected
        or not currency
        or expected == currency
        or expected in CURRENCIES_OF_SIGN.get(sign, ())
    )
    return ParsedMoney(-amount if is_negative else amount, currency, agrees)


def currency_code(text: str, country: str | None = None) -> str | None:
    """Return the ISO 4217 code of a code, sign or word (`eur`, `€`, `kr`), or None."""
    return _currency_of_sign(_to_sign(text), country)


def is_shared_sign(text: str) -> bool:
    """Return whether several currencies have a sign, such as `$` and `kr`."""
    return _to_sign(text) in CURRENCIES_OF_SIGN


def may_be_same(one: str | None, other: str | None) -> bool:
    """Return whether two currencies are one, or share a sign: `$` may have stood for either."""
    return (
        not one
        or not other
        or one == other
        or any({one, other} <= currencies for currencies in CURRENCIES_OF_SIGN.values())
    )


def _parse_suffix(text: str) -> _Suffix | None:
    """Read what stands behind a number: `Mio. €`, `kr.`, `EUR netto`; None for anything else."""
    if text[:1] in (".", ","):
        return None
    words = _SUFFIX_WORD.findall(fold_letters(text))
    end = next((at for at, word in enumerate(words) if word in _TAXES | _TAX_LINKS), len(words))
    taxes, words = set(words[end:]), words[:end]
    if taxes and not (taxes & _TAXES and taxes <= _TAXES | _TAX_LINKS):
        return None
    if not words or words[0] not in FACTOR_BY_WORD:
        sign = " ".join(words)
        return _Suffix(1, sign) if not sign or _is_sign(sign) else _split_factor(sign)
    factor, sign = FACTOR_BY_WORD[words[0]], " ".join(_drop_links(words[1:]))
    if (sign and not _is_sign(sign)) or (not sign and words[0] == "t"):  # 5 t are tons
        return None
    return _Suffix(factor, sign)


def _drop_links(words: list[str]) -> list[str]:
    first = next((at for at, word in enumerate(words) if word not in _LINKS), len(words))
    return words[first:]


def _split_factor(text: str) -> _Suffix | None:
    """Split `TEUR`, `k€` and `MUSD`; None for anything else."""
    factor, sign = FACTOR_BY_WORD.get(text[:1]), text[1:].strip()
    is_word = text in _WORDS or (
        sign.isascii()
        and sign.isalpha()
        and sign.upper() not in CURRENCIES
        and sign not in _SIGNS_OF_FACTORS
    )
    return _Suffix(factor, sign) if factor and _is_sign(sign) and not is_word else None


def _split_minus(text: str) -> tuple[str, bool]:
    """Split the sign of a currency from the minus before or behind it: `-€`, `€ -`, `€-`.

    In `EUR-500` the dash may only join the two.
    """
    bare = text.rstrip()
    is_negative = bare.count("-") == 1 and (
        bare[0] == "-" or (bare[-1] == "-" and not bare[-2].isalpha())
    )
    return _to_sign(bare.strip("-") if is_negative else bare), is_negative


def _to_sign(text: str) -> str:
    return fold_letters(normalize_typed(text)).rstrip(". ")


def _is_sign(sign: str) -> bool:
    return sign.upper() in CURRENCIES or sign in CURRENCY_OF_SIGN or sign in CURRENCIES_OF_SIGN


def _join_signs(before: str, after: str, country: str | None) -> str | None:
    """Return the more precise of two signs (`$1,200 CAD`); None if they contradict each other."""
    if not before or not after:
        return before or after
    general, precise = sorted((before, after), key=lambda sign: sign not in CURRENCIES_OF_SIGN)
    code = _currency_of_sign(precise, country)
    agrees = code in CURRENCIES_OF_SIGN.get(general, (_currency_of_sign(general, country),))
    return precise if agrees else None


def _currency_of_sign(sign: str, country: str | None, expected: str | None = None) -> str | None:
    """Return what a sign means in a country, else by itself, else where only one is expected."""
    if sign.upper() in CURRENCIES:
        return sign.upper()
    shared = CURRENCIES_OF_SIGN.get(sign, frozenset())
    local = CURRENCY_OF_COUNTRY.get(country or "")
    if local in shared:
        return local
    return CURRENCY_OF_SIGN.get(sign) or (expected if expected in shared else None)


def _parse_number(digits: str, *, three_decimals: bool) -> Decimal | None:
    """Parse a number whose separators may follow either convention.

    1. The Arabic decimal mark is one, and apostrophes and spaces group digits.
    2. If both `.` and `,` occur, the last one is the decimal mark and the other groups digits.
    3. If only one of them occurs, several times, it groups digits.
    4. A single mark before exactly three digits groups digits (`1.200`), unless the number starts
       with 0, or the currency has three decimals and the mark is a dot (`12.500` dinars).
    5. Any other single mark is the decimal mark, but a comma before more than three digits may join
       the two ends of a slider (`5000,10000`).
    """
    marks = [mark for mark in digits if mark in ".,"]
    decimal = ""
    if _ARABIC_DECIMAL in digits:
        decimal = _ARABIC_DECIMAL
    elif len(set(marks)) == 2:
        decimal = marks[-1]
    elif len(marks) == 1:
        thousandths = three_decimals and marks[0] == "."
        groups = _ONE_GROUP.fullmatch(digits) and digits[0:2] != f"0{marks[0]}" and not thousandths
        if _TWO_NUMBERS.fullmatch(digits):
            return None
        decimal = "" if groups else marks[0]
    if decimal and digits.count(decimal) > 1:
        return None
    whole, _, fraction = digits.partition(decimal) if decimal else (digits, "", "")
    if not _GROUPED.fullmatch(whole) or (decimal and not _DIGITS.fullmatch(fraction)):
        return None
    return Decimal("".join(c for c in whole if c not in ".,' ") + "." + (fraction or "0"))


_ARABIC_DECIMAL = "\N{ARABIC DECIMAL SEPARATOR}"
_DIGITS = re.compile(r"[0-9]+")
# Decimals of nothing but zeros are none of a slider's ends.
_TWO_NUMBERS = re.compile(r"[0-9]{3,},(?!0+$)[0-9]{4,}")
_ONE_GROUP = re.compile(r"[0-9]{1,3}[.,][0-9]{3}")
_GROUPED = re.compile(
    r"[0-9]+|[0-9]{1,3}(?:(?P<mark>[.,' ])[0-9]{2,3}(?:(?P=mark)[0-9]{2,3})*(?<=[0-9]{3}))"
)
