"""`docs/configuration.md` lists every setting and every key of the source file, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.sources.schema import (
    FetchSettings,
    HandshakeSettings,
    MapRule,
    PairList,
    PathCondition,
    ReadSettings,
    SourceSettings,
    VerifySettings,
)
from worker.lead.dates import parse_date, parse_date_range, parse_time, parse_time_range
from worker.lead.money import parse_money
from worker.lead.settings import LeadSettings, Rule, ValueTemplates
from worker.settings.table import SETTINGS

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
TABLES: dict[str, type[msgspec.Struct]] = {
    "[sources.NAME]": SourceSettings,
    "[sources.NAME.map]": MapRule,
    "[sources.NAME.read]": ReadSettings,
    "[sources.NAME.handshake]": HandshakeSettings,
    "[sources.NAME.verify]": VerifySettings,
    "[sources.NAME.fetch]": FetchSettings,
    "[sources.NAME.lead]": LeadSettings,
}
# Keys of a source that have a section of their own.
SECTIONS = {"read", "handshake", "verify", "fetch", "lead", "rules"}
# Tables that are written within a line, by the key they belong to.
INLINE_TABLES = {
    "pairs": PairList,
    "test": PathCondition,
    "only": PathCondition,
    "when": PathCondition,
    "value": ValueTemplates,
}


class Row(msgspec.Struct):
    """One line of a table: names it describes, their defaults, and all its text."""

    names: list[str]
    defaults: str
    text: str

    def default_of(self, name: str) -> str | None:
        """The default as it would be written; None where the cell describes it in words."""
        cell = self.defaults.replace("\\|", "|")
        parts: list[str] = re.findall(r"`([^`]*)`", cell)
        if ", ".join(f"`{part}`" for part in parts) != cell:
            return None
        return parts[self.names.index(name)] if len(parts) == len(self.names) else parts[0]


def rows(section: str) -> list[Row]:
    """The lines of the table below a heading."""
    match = re.search(
        rf"^##+ `?{re.escape(section)}`?[^\n]*\n(.*?)(?=^##|\Z)",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert match, section
    lines = [line for line in match[1].splitlines() if line.startswith("|")][2:]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [
        Row(re.findall(r"`([^`]+)`", name), default.strip(), "|".join((name, default, meaning)))
        for name, default, meaning in cells
    ]


def fields(struct: type[msgspec.Struct]) -> Iterator[tuple[msgspec.inspect.Field, Any]]:
    """The fields of a struct, each with the function that parses its TOML value, if it has one."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        extra = field.type.extra if isinstance(field.type, msgspec.inspect.Metadata) else None
        yield field, (extra or {}).get("parse")


def test_every_setting_is_there_once() -> None:
    """The page and the table of settings have the same names, in the same order of meaning."""
    names = [name for row in rows("Settings") for name in row.names]
    assert sorted(names) == sorted(row.name for row in SETTINGS.values())


def test_the_defaults_of_settings_are_those_of_the_code() -> None:
    """A default that can be written is written as in the code; all others are put in words."""
    written = {name: row.default_of(name) for row in rows("Settings") for name in row.names}
    assert written == {row.name: row.default or None for row in SETTINGS.values()}


@pytest.mark.parametrize("section", TABLES)
def test_every_key_is_there_once(section: str) -> None:
    """Each table of the source file is described with all its keys and no other."""
    names = [name for row in rows(section) for name in row.names]
    keys = {field.encode_name for field, _ in fields(TABLES[section])} - SECTIONS
    assert sorted(names) == sorted(keys)


@pytest.mark.parametrize("section", TABLES)
def test_the_defaults_of_keys_are_those_of_the_code(section: str) -> None:
    """A default that can be written is the one of the code; where there is none, words say so."""
    described = {name: row for row in rows(section) for name in row.names}
    wrong: list[tuple[str, object, str | None]] = []
    for field, parse in fields(TABLES[section]):
        if field.encode_name in SECTIONS:
            continue
        text = described[field.encode_name].default_of(field.encode_name)
        if text is None:
            if field.default not in (None, msgspec.NODEFAULT):
                wrong.append((field.encode_name, field.default, text))
            continue
        value = json.loads(text)
        if (parse(value) if parse else value) != field.default:
            wrong.append((field.encode_name, field.default, text))
    assert wrong == []


def typed_examples() -> Iterator[tuple[str, str, str | None, str]]:
    """Text, kind, country and result of every example of a date, time or sum."""
    for row in rows("Dates, times and sums"):
        typed, kinds, result = row.text.split("|")
        country = next((code for name, code in COUNTRIES.items() if name in typed), None)
        written = ", ".join(re.findall(r"`([^`]+)`", result)) or "left out"
        for text in re.findall(r"`([^`]+)`", typed):
            for kind in kinds.split(","):
                yield text, kind.strip(), country, written


COUNTRIES = {"United States": "US", "Germany": "DE", "Norway": "NO"}
READERS: dict[str, Callable[[str, str | None], object]] = {
    "`expected_close`": parse_date,
    "date": parse_date,
    "date range": lambda text, _: ", ".join(parse_date_range(text) or ()),
    "time": lambda text, _: parse_time(text),
    "time range": lambda text, _: ", ".join(parse_time_range(text) or ()),
    "`value`": lambda text, country: describe_money(text, country),
    "monetary": lambda text, country: describe_money(text, country),
}


def describe_money(text: str, country: str | None) -> str | None:
    money = parse_money(text, country=country)
    return f"{money.amount:.0f} {money.currency}" if money else None


@pytest.mark.parametrize(("text", "kind", "country", "written"), list(typed_examples()))
def test_what_people_type_is_read_as_described(
    text: str, kind: str, country: str | None, written: str
) -> None:
    """Each example is read as the table says."""
    assert (READERS[kind](text, country) or "left out") == written


@pytest.mark.parametrize("key", INLINE_TABLES)
def test_tables_within_a_line_are_complete(key: str) -> None:
    """The line of such a key names all its parts."""
    [row] = [row for section in TABLES for row in rows(section) if key in row.names]
    assert [name for name in INLINE_TABLES[key].__struct_fields__ if name not in row.text] == []


def test_rules_take_what_leads_take() -> None:
    """As the page says: a rule has `when` and every key of `[sources.NAME.lead]`."""
    assert set(Rule.__struct_fields__) == {"when", *LeadSettings.__struct_fields__}
    assert "`when`" in PAGE.read_text("utf-8")
