"""The country of a lead as a code, where what was typed leaves no doubt.

It decides what `03/04/2027`, `$` and `kr` mean. The intake has the names of all countries in all
languages, which it needs for phone numbers; here the codes and the usual names are enough, because
without a country such a text is left out.
"""

from __future__ import annotations

import re

from worker.lead.typed_text import fold_letters, normalize_typed

MAX_COUNTRY_CHARS = 60

# Names without accents and case, in English and in the languages of the country and its neighbours.
_NAMES = {
    "US": "usa; u.s.; u.s.a.; united states; united states of america; vereinigte staaten;"
    " etats-unis; estados unidos; stati uniti; verenigde staten; stany zjednoczone;"
    " forenta staterna",
    "AT": "austria; osterreich; autriche; oostenrijk",
    "AU": "australia; australien; australie",
    "BE": "belgium; belgie; belgique; belgien; belgio",
    "BR": "brazil; brasil; brasilien; bresil; brasile",
    "CA": "canada; kanada",
    "CH": "switzerland; schweiz; suisse; svizzera; suiza",
    "CN": "china; 中国; 中國; chine; kina",
    "CZ": "czechia; czech republic; cesko; ceska republika; tschechien",
    "DE": "germany; deutschland; allemagne; alemania; germania; alemanha; duitsland; niemcy;"
    " tyskland",
    "DK": "denmark; danmark; danemark",
    "ES": "spain; espana; spanien; espagne; spagna; espanha; spanje; hiszpania",
    "FI": "finland; suomi; finnland",
    "FR": "france; frankreich; francia; franca; frankrijk; francja; frankrike",
    "GB": "uk; u.k.; united kingdom; great britain; england; scotland; wales; grossbritannien;"
    " royaume-uni; reino unido; regno unito",
    "IE": "ireland; irland; irlande; irlanda",
    "IN": "india; indien; inde",
    "IS": "iceland; island",
    "IT": "italy; italia; italien; italie; wlochy",
    "JP": "japan; 日本; japon; giappone",
    "KR": "south korea; korea; 한국; 대한민국",
    "MX": "mexico; mexiko; mexique; messico",
    "NL": "netherlands; the netherlands; holland; nederland; niederlande; pays-bas; paises bajos;"
    " paesi bassi",
    "NO": "norway; norge; norwegen; norvege",
    "NZ": "new zealand; neuseeland",
    "PH": "philippines; pilipinas",
    "PL": "poland; polska; polen; pologne; polonia",
    "PT": "portugal",
    "SE": "sweden; sverige; schweden; suede; suecia; svezia; zweden; szwecja",
    "SG": "singapore; singapur",
    "ZA": "south africa; sudafrika",
}
COUNTRY_BY_NAME = {
    name.strip(): code for code, names in _NAMES.items() for name in names.split(";")
}


def find_country(text: str | None) -> str | None:
    """Return the code of a country by code or name (`us`, `USA`); None for anything else."""
    if not text or len(text) > MAX_COUNTRY_CHARS:
        return None
    name = fold_letters(normalize_typed(text))
    if name in COUNTRY_BY_NAME:
        return COUNTRY_BY_NAME[name]
    return name.upper() if re.fullmatch("[a-z]{2}", name) else None
