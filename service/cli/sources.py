"""`leadline sources …`: which sources there are, what came through them, and a new one from a
captured request.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import click
import msgspec
from msgspec import Struct

from service.cli import output, setup
from service.cli.output import inert, print_columns, print_pairs
from service.cli.sources_new import new
from service.reports.stored import heads
from service.settings import source_file
from service.sources.adapters.registry import ADAPTERS
from service.sources.schema import ConfigError, Source, SourceFile
from service.sources.source_file.loader import load_sources
from service.sources.wizard import toml
from worker.contract import State
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.settings import Settings
from worker.store.connection import connect
from worker.times import format_iso


@click.group()
def sources() -> None:
    """Where leads come from: list, show, new."""


sources.add_command(new)


class Traffic(Struct):
    """What is stored of a source; `last_received` in Unix seconds."""

    states: Counter[str] = msgspec.field(default_factory=Counter)
    last_received: float | None = None


@sources.command("list")
@click.option(
    "--offline", is_flag=True, help="Look at the source file only; ask no Redis for counts."
)
@output.json_option
def list_(offline: bool, as_json: bool) -> None:
    """Every source with its adapter, its check, its URL, and what is stored of it."""
    settings = setup.settings(Settings.for_service)
    file, known = _file(settings), None if offline else _traffic(settings)
    rows = [_row(settings, source, known) for source in file.sources.values()]
    gone = sorted(set(known or {}) - set(file.sources))
    if as_json:
        output.print_json({"file": file.path, "items": rows, "not_in_the_file": gone})
        return
    print_columns(
        ["source", "adapter", "verify", "last received", "stored", "dead", "URL"],
        [(r["source"], r["adapter"], r["verify"], output.ago(_last(known, r["source"])),
        r["stored"], r["dead"], r["url"])
         for r in rows],
    )  # fmt: skip
    if gone:
        click.echo(f"stored, and not in the source file: {', '.join(map(inert, gone))}")


@sources.command("show")
@click.argument("name")
@click.option(
    "--offline", is_flag=True, help="Look at the source file only; ask no Redis for counts."
)
@output.json_option
def show_(name: str, offline: bool, as_json: bool) -> None:
    """One source: how it is checked, read and written, and what is stored of it."""
    settings = setup.settings(Settings.for_service)
    file = _file(settings)
    if name not in file.sources:
        setup.stop(
            f"leadline: no source {name!r} in {file.path}; it has:"
            f" {', '.join(sorted(file.sources))}"
        )
    source, known = file.sources[name], None if offline else _traffic(settings, name)
    row = _row(settings, source, known)
    told = {
        "states": dict((known or {}).get(name, Traffic()).states),
        "line": source.line,
    } | _settings_of(source)
    if as_json:
        output.print_json(row | told)
        return
    print_pairs([*row.items(), ("line", f"{file.path}:{source.line}" if source.line else None)])
    print_pairs((key, _toml(value)) for key, value in _settings_of(source).items())
    if known:
        print_columns(["state", "stored"], sorted(told["states"].items()))


def _file(settings: Settings) -> SourceFile:
    try:
        return load_sources(source_file(settings), os.environ, secrets=())
    except ConfigError as error:
        setup.stop(
            "leadline: the source file cannot be used:", *(f"  {fault}" for fault in error.faults)
        )


def _traffic(settings: Settings, name: str | None = None) -> dict[str, Traffic] | None:
    """By source; None, and a line about it, where Redis does not answer."""
    found: dict[str, Traffic] = {}
    try:
        with setup.store_url(settings) as url, connect(url, timeout=5.0) as client:
            for head in heads(Ledger(client, Cipher(settings.encryption_keys)), source=name):
                one = found.setdefault(head.source, Traffic())
                one.states[head.state.value] += 1
                one.last_received = max(one.last_received or 0.0, head.received_at)
    except StoreUnavailable as error:
        click.echo(f"no counts: {error}", err=True)
        return None
    return found


def _row(settings: Settings, source: Source, known: dict[str, Traffic] | None) -> dict[str, Any]:
    one = (known or {}).get(source.name, Traffic())
    return {
        "source": source.name,
        "adapter": source.adapter,
        "verify": _scheme(source),
        "url": (
            f"{settings.public_url or f'http://{settings.host}:{settings.port}'}/in/{source.name}"
        ),
        "stored": None if known is None else sum(one.states.values()),
        "dead": None if known is None else one.states[State.DEAD],
        "last_received": format_iso(one.last_received),
    }


def _last(known: dict[str, Traffic] | None, name: str) -> float | None:
    return known[name].last_received if known and name in known else None


def _scheme(source: Source) -> str:
    """The scheme in force, and where it looks."""
    rules = source.check
    own = ADAPTERS[source.adapter].scheme
    place = rules.header or (f"?{rules.query}=" if rules.query else rules.field)
    scheme = rules.scheme or (source.adapter if own else "none")
    return f"{scheme} ({place})" if place and scheme != "none" else scheme


def _settings_of(source: Source) -> dict[str, Any]:
    """What differs from the defaults, without secrets."""
    kept = ("origins", "redirect", "honeypot", "map", "read", "fetch", "lead", "rules")
    plain = Source(name="plain")
    found = {
        name: getattr(source, name)
        for name in kept
        if getattr(source, name) != getattr(plain, name)
    }
    tables = {name: _changed(value) for name, value in found.items()}
    return tables | {"secret_env": source.check.secret_env} if source.check.secret_env else tables


def _changed(value: Any) -> Any:
    if isinstance(value, list):
        return [_changed(item) for item in value]
    if not isinstance(value, Struct):
        return value
    kind = type(value)
    required = {
        item.name: getattr(value, item.name)
        for item in msgspec.structs.fields(kind)
        if item.required
    }
    plain = kind(**required)
    names = [
        name
        for name in value.__struct_fields__
        if name in required or getattr(value, name) != getattr(plain, name)
    ]
    return {name: msgspec.to_builtins(getattr(value, name)) for name in names}


def _toml(value: Any) -> str:
    return " ".join(toml.value(value).split())
