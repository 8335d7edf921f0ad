"""Loads the source file: reads it, checks every part, and adds the secrets."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path as FilePath
from typing import Any, Literal

import msgspec

from service.sources.adapters.registry import ADAPTERS
from service.sources.fields.countries import country_names, is_country
from service.sources.schema import (
    EXPECTED_COUNTRY,
    ConfigError,
    Fault,
    Source,
    SourceFile,
    SourceSecret,
    SourceSettings,
    Table,
    VerifySettings,
)
from service.sources.source_file.toml_reader import (
    FaultCollector,
    LineIndex,
    Path,
    did_you_mean,
    read_table,
)
from service.sources.source_file.validation import check_lead, check_rules, check_source
from worker.lead.settings import LeadMapping, LeadSettings
from worker.settings.table import SETTINGS

SecretUse = Literal["verify", "fetch"]
VERIFY_SECRETS: tuple[SecretUse, ...] = ("verify",)
MAX_FILE_BYTES = 4_194_304
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TOML_PLACE = re.compile(r"\s*\(at line (\d+), column (\d+)\)|\s*\(at end of document\)")


def load_sources(
    source: FilePath | str,
    env: Mapping[str, str],
    *,
    secrets: Collection[SecretUse] = VERIFY_SECRETS,
) -> SourceFile:
    """Loads a source file, given by its path or as text. Raises ConfigError with all its faults.

    `secrets` says which secrets this process uses and must therefore find in `env`: `verify` for
    the service, `fetch` for the worker, none for `backtest` and for checks without an environment.
    """
    name, text = _read_text(source)
    table = _parse_toml(name, text)
    faults = FaultCollector(name, LineIndex(text))
    sources = _read_sources(table, env, frozenset(secrets), faults)
    if faults:
        raise ConfigError(faults.sorted())
    country_names()  # reads its tables now rather than during the first request
    return SourceFile(path=str(source) if isinstance(source, FilePath) else name, sources=sources)


def build_lead_mappings(file: SourceFile) -> dict[str, LeadMapping]:
    """What the worker must know of each source, by its name."""
    return {name: source.lead_mapping for name, source in file.sources.items()}


def _read_text(source: FilePath | str) -> tuple[str, str]:
    """The name and the text of a source file."""
    if isinstance(source, str):
        return "leadline.toml", source
    try:
        raw = source.read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            fault = Fault(source.name, "a file of at most 4 MiB", f"{len(raw):,} bytes")
            raise ConfigError([fault])
        return source.name, raw.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        got = f'the error "{error.strerror or error}"'
        fault = Fault(str(source), "a source file that can be read", got)
    except UnicodeDecodeError as error:
        fault = Fault(source.name, "UTF-8", f"an invalid byte at position {error.start}")
    raise ConfigError([fault])


def _parse_toml(name: str, text: str) -> Table:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line, column = place.groups() if place else (None, None)
        if line is None:  # at the end of the document
            line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        message = _TOML_PLACE.sub("", str(error))
        got = f"a syntax error: {message[:1].lower()}{message[1:]}"
        fault = Fault(f"{name}:{line}:{column}", "valid TOML", got)
    except RecursionError:
        fault = Fault(name, "valid TOML", "values nested too deeply")
    raise ConfigError([fault])


def _read_sources(
    table: Table, env: Mapping[str, str], uses: frozenset[str], faults: FaultCollector
) -> dict[str, Source]:
    tables = ("pipedrive", "sources")
    for key in table:
        if key not in tables:
            faults.add((key,), did_you_mean(key, tables), "an unknown table", verbatim=True)
    defaults = read_table(LeadSettings, table.get("pipedrive", {}), ("pipedrive",), faults)
    check_lead(defaults, ("pipedrive",), faults)
    country = _read_default_country(env, faults)
    sources = table.get("sources", {})
    if not isinstance(sources, dict) or not sources:
        faults.add(("sources",), "at least one table [sources.NAME]", "none", verbatim=True)
        return {}
    return {
        name: _read_source(name, one, defaults, country, env, uses, faults)
        for name, one in sources.items()
    }


def _read_default_country(env: Mapping[str, str], faults: FaultCollector) -> str | None:
    """The setting that holds for every source without a country of its own."""
    name = SETTINGS["default_country"].name
    text = env.get(name, "").strip().upper()
    if text and not is_country(text):
        faults.add((name,), EXPECTED_COUNTRY, text)
    return text or None


def _allows_private_urls(env: Mapping[str, str]) -> bool:
    """Whether URLs may be private; of a value that is none, the settings complain."""
    return env.get(SETTINGS["allow_private_urls"].name, "").strip().lower() == "yes"


def _read_source(
    name: str,
    table: object,
    defaults: Table,
    country: str | None,
    env: Mapping[str, str],
    uses: frozenset[str],
    faults: FaultCollector,
) -> Source:
    path: Path = ("sources", name)
    if not SOURCE_NAME.fullmatch(name):
        expected = "a name of letters, digits, - and _, at most 64, with a letter or digit first"
        faults.add(path, expected, name)
    values = read_table(SourceSettings, table, path, faults, skip=frozenset({"lead", "verify"}))
    tables: Table = table if isinstance(table, dict) else {}
    lead = read_table(LeadSettings, tables.get("lead", {}), (*path, "lead"), faults)
    rules = read_table(VerifySettings, tables.get("verify", {}), (*path, "verify"), faults)
    adapter_name = values.get("adapter", "form")
    if adapter_name not in ADAPTERS:
        expected = did_you_mean(adapter_name, ADAPTERS, "a known adapter")
        faults.add((*path, "adapter"), expected, adapter_name)
    adapter = ADAPTERS.get(adapter_name, ADAPTERS["form"])
    check_lead(lead, (*path, "lead"), faults)
    check_rules(values.get("rules", []), (*path, "rules"), faults)
    verify = msgspec.structs.replace(_inherited_rules(adapter.verify, rules), **rules)
    settings = {"rate_limit": adapter.rate, **values, "verify": verify}
    settings["lead"] = merge_lead_settings(defaults, lead)
    source = Source(**settings, name=name, line=faults.line_of(path))
    check_source(source, adapter, path, faults, allow_private=_allows_private_urls(env))
    source = msgspec.structs.replace(source, default_country=source.default_country or country)
    return _add_secrets(source, env, uses, path, faults)


def _inherited_rules(adapter_rules: VerifySettings, rules: Table) -> VerifySettings:
    """The adapter's rules, on which the source's build unless they describe another scheme."""
    is_other = "scheme" in rules and (
        rules["scheme"] != adapter_rules.scheme or bool({"header", "query", "field"} & rules.keys())
    )
    return VerifySettings() if is_other else adapter_rules


def merge_lead_settings(defaults: Table, lead: Table) -> LeadSettings:
    """The source's `lead` over the defaults of `[pipedrive]`.

    Custom fields add up; everything else replaces the default.
    """
    custom = {**defaults.get("custom", {}), **lead.get("custom", {})}
    return LeadSettings(**{**defaults, **lead, "custom": custom})


def _add_secrets(
    source: Source,
    env: Mapping[str, str],
    uses: frozenset[str],
    path: Path,
    faults: FaultCollector,
) -> Source:
    secrets: dict[str, Any] = {}
    if "verify" in uses:
        rules, here = source.verification, (*path, "verify")
        read = [_read_secret(name, env, (*here, "secret_env"), faults) for name in rules.secret_env]
        secrets["secrets"] = tuple(filter(None, read))
        if name := rules.challenge_env:
            secrets["challenge"] = _read_secret(name, env, (*here, "challenge_env"), faults)
    if "fetch" in uses and source.fetch and (name := source.fetch.token_env):
        secrets["fetch_token"] = _read_secret(name, env, (*path, "fetch", "token_env"), faults)
    return msgspec.structs.replace(source, **secrets)


def _read_secret(
    name: str, env: Mapping[str, str], path: Path, faults: FaultCollector
) -> SourceSecret | None:
    value = env.get(name, "").strip()
    if not value:
        faults.add(path, f"the environment variable {name} with a secret", "none", verbatim=True)
        return None
    return SourceSecret(env=name, value=value)
