"""ISO country codes, from names in many languages and from the codes that forms send."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import phonenumbers

from service.sources.languages.words import to_phrase

COUNTRY_LANGUAGES = (
    "en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl", "da", "nb", "fi", "cs", "sk", "hu", "ro",
    "el", "ru", "uk", "tr", "ar", "he", "ja", "zh", "zh_Hant", "ko", "id", "vi", "fa", "ca",
)  # fmt: skip
# Names that the library's tables lack, and the three-letter codes that forms send most often.
EXTRA_COUNTRY_NAMES = {
    "uk": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "great britain": "GB",
    "usa": "US", "u.s.": "US", "america": "US", "united states of america": "US",
    "holland": "NL", "the netherlands": "NL", "czech republic": "CZ", "turkey": "TR",
    "deu": "DE", "gbr": "GB", "fra": "FR", "esp": "ES", "ita": "IT", "prt": "PT", "nld": "NL",
    "swe": "SE", "pol": "PL", "aut": "AT", "che": "CH", "aus": "AU", "bel": "BE", "can": "CA",
    "irl": "IE", "dnk": "DK", "nor": "NO", "fin": "FI", "bra": "BR", "mex": "MX", "ind": "IN",
    "jpn": "JP", "chn": "CN", "kor": "KR", "tur": "TR", "rus": "RU", "ukr": "UA", "cze": "CZ",
    "svk": "SK", "hun": "HU", "rou": "RO", "grc": "GR", "isr": "IL", "are": "AE", "sau": "SA",
    "slovensko": "SK", "bundesrepublik deutschland": "DE", "brd": "DE", "great britain uk": "GB",
    "republic of ireland": "IE", "المملكة العربية السعودية": "SA", "kingdom of saudi arabia": "SA",
    "الإمارات العربية المتحدة": "AE", "russian federation": "RU", "российская федерация": "RU",
    "republic of korea": "KR", "대한민국": "KR", "中华人民共和国": "CN", "中國": "CN",
    "السعودية": "SA", "الإمارات": "AE", "مصر": "EG", "台灣": "TW", "台湾": "TW", "臺灣": "TW",
    "香港": "HK", "россия": "RU", "рф": "RU", "česko": "CZ", "korea": "KR", "south korea": "KR",
    "한국": "KR", "viet nam": "VN", "viêt nam": "VN", "uae": "AE", "ksa": "SA", "egy": "EG",
    "idn": "ID", "vnm": "VN", "sgp": "SG", "mys": "MY", "zaf": "ZA", "nzl": "NZ",
    "tschechien": "CZ", "oesterreich": "AT", "tuerkei": "TR", "daenemark": "DK",
    "česká republika": "CZ",
    "německo": "DE", "rakousko": "AT", "polsko": "PL", "velká británie": "GB", "rakúsko": "AT",
    "maďarsko": "HU", "németország": "DE", "ausztria": "AT", "szlovákia": "SK", "románia": "RO",
    "німеччина": "DE", "польща": "PL", "сша": "US", "almanya": "DE", "avusturya": "AT", "abd": "US",
    "ingiltere": "GB", "ألمانيا": "DE", "الأردن": "JO", "الكويت": "KW", "قطر": "QA", "المغرب": "MA",
    "גרמניה": "DE", "ארצות הברית": "US", "ایران": "IR", "آلمان": "DE", "德國": "DE", "美國": "US",
    "英國": "GB",
}  # fmt: skip


def is_country(code: str) -> bool:
    """Whether two letters in upper case are the code of a country that has phone numbers."""
    return code in phonenumbers.SUPPORTED_REGIONS


def country_code(country: str) -> str | None:
    """The two-letter code for a country's code or name; None if it is neither."""
    code = country.strip().upper()
    if is_country(code):
        return code
    return country_names().get(to_phrase(country[:100]))


@cache
def country_names() -> dict[str, str]:
    """Phrase of a name -> code. The first call reads the tables, which takes about 200 ms."""
    codes = {to_phrase(name): code for name, code in EXTRA_COUNTRY_NAMES.items()}
    for code, spellings in _country_spellings().items():
        if code not in phonenumbers.SUPPORTED_REGIONS:
            continue
        for language in COUNTRY_LANGUAGES:
            name = spellings.get(language, "")
            if name.startswith("*"):  # spelt as in another language
                name = spellings.get(name[1:], "")
            if phrase := to_phrase(name):
                codes.setdefault(phrase, code)
    return codes


def _country_spellings() -> dict[str, dict[str, str]]:
    """Code -> language -> name.

    The module is loaded from its file: importing its package would load the towns of all area
    codes, which take 100 MB.
    """
    file = Path(phonenumbers.__file__).with_name("geodata") / "locale.py"
    spec = importlib.util.spec_from_file_location("phonenumbers.geodata.locale", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    spellings: dict[str, dict[str, str]] = module.LOCALE_DATA
    return spellings
