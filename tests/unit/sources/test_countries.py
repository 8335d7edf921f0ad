"""Countries by code and by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.sources.fields.countries import country_code, country_names, is_country
from service.sources.fields.values import parse_country
from tests.unit.sources.factories import form, lead_of

NAMES = {
    "DE": "DE, de, deu, Germany, GERMANY, Deutschland, Allemagne, Alemania, Alemanha, Germania,"
    " Duitsland, Tyskland, Niemcy, Saksa, Германия, Γερμανία, ドイツ, 德国, 德國, 독일, Jerman, Alemanya,"
    " Německo, Nemecko, Németország, Німеччина, Almanya, ألمانيا, גרמניה, آلمان",
    "GB": "GB, UK, uk, gbr, England, Scotland, Great Britain, United Kingdom, Reino Unido, Royaume-Uni",
    "US": "US, USA, usa, U.S., United States, United States of America, Estados Unidos, États-Unis",
    "AT": "AT, Austria, Österreich, Oesterreich, Autriche, Rakousko, Ausztria",
    "CZ": "CZ, Czech Republic, Česko, Česká republika, Tschechien",
    "TR": "TR, Turkey, Türkiye, Türkei, Tuerkei, TUR",
    "IR": "IR, Iran, ایران",
    "CI": "CI, Côte d'Ivoire",
    "KR": "KR, South Korea, Republic of Korea, 대한민국, 한국, Korea",
    "SA": "SA, Saudi Arabia, السعودية, المملكة العربية السعودية, KSA",
    "IL": "IL, Israel, ישראל",
    "UA": "UA, Ukraine, Україна, Украина",
    "HU": "HU, Hungary, Magyarország, Ungarn",
    "VN": "VN, Vietnam, Viet Nam",
    "NL": "NL, Netherlands, The Netherlands, Nederland, Holland, Niederlande",
}


@pytest.mark.parametrize("code", NAMES)
def test_names(code: str) -> None:
    """A country is known by its codes and by its names in many languages and scripts."""
    names = [name.strip() for name in NAMES[code].split(",")]
    assert {name: country_code(name) for name in names} == dict.fromkeys(names, code)


@pytest.mark.parametrize(
    "text",
    ["", "XX", "ZZ", "Narnia", "Land", "+49", "Germany and Austria", "de-DE", "aa", "x" * 300],
)
def test_no_country(text: str) -> None:
    """What names no country that has phone numbers has no code."""
    assert country_code(text) is None
    assert not is_country(text)


@pytest.mark.parametrize("name", ["Österreich", "Ελλάδα", "日本"])
def test_names_stay_as_typed(name: str) -> None:
    """The lead's country is kept as the sender wrote it."""
    assert lead_of(form(country=name, email="a@b.example")).country == name


@pytest.mark.parametrize("value", ["42", "https://b.example", "a@b.example", "x" * 61, True, None])
def test_values_that_are_no_countries(value: object) -> None:
    """Numbers, addresses, sentences and ticks are no country."""
    assert parse_country(value) is None


def test_every_name_leads_to_a_country() -> None:
    """No spelling leads to a code that has no phone numbers, nor is any of them empty."""
    names = country_names()
    assert len(names) > 2_000
    assert all(names)
    assert all(map(is_country, names.values()))


def test_towns_are_not_loaded() -> None:
    """The tables of countries come without those of all area codes, which take 100 MB."""
    code = (
        "import sys; from service.sources.fields.countries import country_code;"
        " assert country_code('Deutschland') == 'DE';"
        " assert 'phonenumbers.geodata.data0' not in sys.modules;"
        " assert 'phonenumbers.geodata' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
