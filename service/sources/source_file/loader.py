"""The source file from disk: read, checked in every part, with its secrets. All faults at once,
each with its line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path as FilePath
from typing import Any, Literal

import msgspec

from service.sources.adapters.registry import ADAPTERS
from service.sources.fields import values
from service.sources.schema import (
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

SecretUse = Literal["verify", "fetch"]
VERIFY_SECRETS: tuple[SecretUse, ...] = ("verify",)
SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_FILE_BYTES = 4_194_304
"""Bytes of a source file."""
_TOML_PLACE = re.compile(r"\s*\(at line (\d+), column (\d+)\)|\s*\(at end of document\)")


def load_sources(
    source: FilePath | str,
    env: Mapping[str, str],
    *,
    secrets: Collection[SecretUse] = VERIFY_SECRETS,
) -> SourceFile:
    """Read a source file, given by its path or as text. Raises ConfigError with all its faults.

    `secrets`: which of the secrets this process uses and must therefore find in `env`: `verify` for
    the service, `fetch` for the worker, none for `backtest` and for checks without an environment.
    """
    name, text = _text(source)
    table = _parse(name, text)
    faults = FaultCollector(name, LineIndex(text))
    loaded = _sources(table, env, frozenset(secrets), faults)
    if faults:
        raise ConfigError(faults.sorted())
    values.country_names()
    return SourceFile(path=str(source) if isinstance(source, FilePath) else name, sources=loaded)


def build_lead_mappings(file: SourceFile) -> dict[str, LeadMapping]:
    """What the worker must know of each source."""
    return {name: source.lead_mapping for name, source in file.sources.items()}


def _text(source: FilePath | str) -> tuple[str, str]:
    if isinstance(source, str):
        return "leadline.toml", source
    try:
        raw = source.read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            raise ConfigError([Fault(source.name, "a file of at most 4 MiB", f"{len(raw)} bytes")])
        return source.name, raw.decode("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise ConfigError(
            [Fault(str(source), "a source file that can be read", error.strerror or "an error")]
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            [Fault(source.name, "UTF-8", f"other bytes at byte {error.start}")]
        ) from None


def _parse(name: str, text: str) -> Table:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        place = _TOML_PLACE.search(said)
        at = (
            (place[1], place[2])
            if place and place[1]
            else (text.count("\n") + 1, len(text) - text.rfind("\n"))
        )
        message = _TOML_PLACE.sub("", said)
        raise ConfigError(
            [Fault(f"{name}:{at[0]}:{at[1]}", "TOML", message[:1].lower() + message[1:])]
        ) from None
    except RecursionError:
        raise ConfigError([Fault(name, "TOML", "values nested too deep")]) from None


def _sources(
    table: Table, env: Mapping[str, str], needs: frozenset[str], faults: FaultCollector
) -> dict[str, Source]:
    for key in table:
        if key not in ("pipedrive", "sources"):
            faults.add(
                (key,),
                did_you_mean(key, ["pipedrive", "sources"]),
                "an unknown table",
                verbatim=True,
            )
    defaults = read_table(LeadSettings, table.get("pipedrive", {}), ("pipedrive",), faults)
    check_lead(defaults, ("pipedrive",), faults)
    sources = table.get("sources", {})
    if not isinstance(sources, dict) or not sources:
        faults.add(("sources",), "at least one table [sources.NAME]", "none", verbatim=True)
        return {}
    return {name: _source(name, one, defaults, env, needs, faults) for name, one in sources.items()}


def _source(
    name: str,
    table: object,
    defaults: Table,
    env: Mapping[str, str],
    needs: frozenset[str],
    faults: FaultCollector,
) -> Source:
    path: Path = ("sources", name)
    if not SOURCE_NAME.fullmatch(name):
        faults.add(path, "a name of letters, digits, - and _, at most 64", name)
    given = read_table(SourceSettings, table, path, faults, skip=frozenset({"lead", "verify"}))
    tables: Table = table if isinstance(table, dict) else {}
    lead = read_table(LeadSettings, tables.get("lead", {}), (*path, "lead"), faults)
    rules = read_table(VerifySettings, tables.get("verify", {}), (*path, "verify"), faults)
    adapter = ADAPTERS.get(given.get("adapter", "form"))
    if adapter is None:
        faults.add(
            (*path, "adapter"),
            did_you_mean(given["adapter"], ADAPTERS, "a known adapter"),
            given["adapter"],
        )
        adapter = ADAPTERS["form"]
    check_lead(lead, (*path, "lead"), faults)
    check_rules(given.get("rules", []), (*path, "rules"), faults)
    verify = msgspec.structs.replace(_inherited(adapter.verify, rules), **rules)
    source = Source(
        **{
            "rate_limit": adapter.rate,
            **given,
            "verify": verify,
            "lead": merge_lead_settings(defaults, lead),
        },
        name=name,
        line=faults.line_of(path),
    )
    check_source(source, adapter, path, faults)
    return _with_secrets(source, env, needs, path, faults)


def _inherited(own: VerifySettings, rules: Table) -> VerifySettings:
    """The product's own scheme under what the source writes; nothing of it once the source
    describes another one.
    """
    is_other = "scheme" in rules and (
        rules["scheme"] != own.scheme or bool({"header", "query", "field"} & rules.keys())
    )
    return VerifySettings() if is_other else own


def merge_lead_settings(defaults: Table, own: Table) -> LeadSettings:
    """The source's `lead` over the defaults of `[pipedrive]`; custom fields add up, everything else
    replaces.
    """
    custom = {**defaults.get("custom", {}), **own.get("custom", {})}
    return LeadSettings(**{**defaults, **own, "custom": custom})


def _with_secrets(
    source: Source,
    env: Mapping[str, str],
    needs: frozenset[str],
    path: Path,
    faults: FaultCollector,
) -> Source:
    found: dict[str, Any] = {}
    check = source.verification
    if "verify" in needs:
        read = [
            _secret(name, env, (*path, "verify", "secret_env"), faults) for name in check.secret_env
        ]
        found["secrets"] = tuple(secret for secret in read if secret)
        if check.challenge_env:
            found["challenge"] = _secret(
                check.challenge_env, env, (*path, "verify", "challenge_env"), faults
            )
    if "fetch" in needs and source.fetch and source.fetch.token_env:
        found["fetch_token"] = _secret(
            source.fetch.token_env, env, (*path, "fetch", "token_env"), faults
        )
    return msgspec.structs.replace(source, **found)


def _secret(
    name: str, env: Mapping[str, str], path: Path, faults: FaultCollector
) -> SourceSecret | None:
    value = env.get(name, "").strip()
    if not value:
        faults.add(path, f"the environment variable {name} with a secret", "none", verbatim=True)
        return None
    return SourceSecret(env=name, value=value)
