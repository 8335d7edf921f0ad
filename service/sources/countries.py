"""Countries by ISO code or by name, in the languages that forms are written in."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import phonenumbers

from service.sources.recognition import phrase

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "pl")
ALSO = {
    "uk": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "great britain": "GB", "usa": "US", "america": "US",
    "united states of america": "US", "holland": "NL", "the netherlands": "NL", "czech republic": "CZ", "deu": "DE", "gbr": "GB",
    "fra": "FR", "esp": "ES", "ita": "IT", "prt": "PT", "nld": "NL", "swe": "SE", "pol": "PL", "aut": "AT", "che": "CH",
    "aus": "AU", "bel": "BE", "can": "CA", "irl": "IE", "dnk": "DK", "nor": "NO", "fin": "FI", "bra": "BR",
    "mex": "MX", "ind": "IN",
}  # fmt: skip
"""Names that the tables of languages do not have, and the three-letter codes that forms send most."""


def region(country: str) -> str | None:
    """The two-letter code of a country's code or name; None if it is neither."""
    code = country.strip().upper()
    if code in phonenumbers.SUPPORTED_REGIONS:
        return code
    return names().get(phrase(country[:100]))


@cache
def names() -> dict[str, str]:
    """Normalised name -> code. The first call reads the tables (some 100 ms): made once when the source file is loaded."""
    found = {phrase(name): code for name, code in ALSO.items()}
    for code, spellings in _spellings().items():
        for language in LANGUAGES:
            name = spellings.get(language, "")
            name = spellings.get(name[1:], "") if name.startswith("*") else name
            if code in phonenumbers.SUPPORTED_REGIONS and (known := phrase(name)):
                found.setdefault(known, code)
    return found


def _spellings() -> dict[str, dict[str, str]]:
    """Code -> language -> name. Read past the package it stands in, which would load the towns of all area codes (100 MB)."""
    file = Path(phonenumbers.__file__).with_name("geodata") / "locale.py"
    spec = importlib.util.spec_from_file_location("phonenumbers.geodata.locale", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, dict[str, str]] = module.LOCALE_DATA
    return found
