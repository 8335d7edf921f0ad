"""`leadline sources …`: the sources, what they have received, and a new one from a capture."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import click
import msgspec
from msgspec import Struct

from service.cli import output, setup
from service.cli.output import count_progress, print_pairs, print_table, printable
from service.cli.sources_new import new
from service.settings import source_file
from service.sources.adapters.registry import ADAPTERS
from service.sources.schema import Source
from service.sources.wizard import toml
from worker.contract import State
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.ledger import Ledger
from worker.settings.table import Settings
from worker.store.connection import connect
from worker.units import format_iso


@click.group()
def sources() -> None:
    """Sources of leads: list, show, new."""


sources.add_command(new)


offline_option = click.option(
    "--offline", is_flag=True, help="Show the source file only, without counts from Redis."
)


class SourceTraffic(Struct):
    """What is stored from a source; `last_received` is in Unix seconds."""

    states: Counter[str] = msgspec.field(default_factory=Counter)
    last_received: float | None = None


@sources.command("list")
@offline_option
@output.json_option
def list_(offline: bool, as_json: bool) -> None:
    """List the sources with URL, verification and counts."""
    settings = setup.load_settings(Settings.for_service)
    file = setup.read_source_file(source_file(settings))
    traffic = None if offline else _count_traffic(settings)
    rows = [_row(settings, source, traffic) for source in file.sources.values()]
    gone = sorted(set(traffic or {}) - set(file.sources))
    if as_json:
        output.print_json({"file": file.path, "items": rows, "not_in_the_file": gone})
        return
    print_table(
        ["source", "adapter", "verify", "last received", "stored", "dead", "URL"],
        [
            (
                row["source"],
                row["adapter"],
                row["verify"],
                _received_ago(traffic, row["source"]),
                row["stored"],
                row["dead"],
                row["url"],
            )
            for row in rows
        ],
    )
    if gone:
        click.echo(f"stored, but not in the source file: {', '.join(map(printable, gone))}")


@sources.command("show")
@click.argument("name")
@offline_option
@output.json_option
def show_(name: str, offline: bool, as_json: bool) -> None:
    """Show one source with its settings and counts."""
    settings = setup.load_settings(Settings.for_service)
    file = setup.read_source_file(source_file(settings))
    if name not in file.sources:
        setup.exit_with_error(
            f"leadline: no source {name!r} in {file.path}; it has:"
            f" {', '.join(sorted(file.sources))}"
        )
    source, traffic = file.sources[name], None if offline else _count_traffic(settings, name)
    row = _row(settings, source, traffic)
    details = {
        "states": dict((traffic or {}).get(name, SourceTraffic()).states),
        "line": source.line,
    } | _changed_settings(source)
    if as_json:
        output.print_json(row | details)
        return
    settings_changed = ((key, _toml(value)) for key, value in _changed_settings(source).items())
    line = f"{file.path}:{source.line}" if source.line else None
    print_pairs([*row.items(), ("line", line), *settings_changed])
    if traffic:
        print_table(["state", "stored"], sorted(details["states"].items()))


def _count_traffic(settings: Settings, name: str | None = None) -> dict[str, SourceTraffic] | None:
    """The traffic by source; None, and a line about it, where Redis does not respond."""
    traffic: dict[str, SourceTraffic] = {}
    try:
        with (
            setup.redis_url(settings) as url,
            connect(url, timeout=setup.STORE_TIMEOUT_SECONDS) as client,
        ):
            heads = Ledger(client, Cipher(settings.encryption_keys)).scan_heads(source=name)
            for head in count_progress(heads, "submissions counted"):
                one = traffic.setdefault(head.source, SourceTraffic())
                one.states[head.state.value] += 1
                one.last_received = max(one.last_received or 0.0, head.received_at)
    except StoreUnavailable as error:
        click.echo(f"no counts: {error}", err=True)
        return None
    return traffic


def _row(
    settings: Settings, source: Source, traffic: dict[str, SourceTraffic] | None
) -> dict[str, Any]:
    one = (traffic or {}).get(source.name, SourceTraffic())
    return {
        "source": source.name,
        "adapter": source.adapter,
        "verify": _describe_scheme(source),
        "url": (
            f"{settings.public_url or f'http://{settings.host}:{settings.port}'}/in/{source.name}"
        ),
        "stored": None if traffic is None else sum(one.states.values()),
        "dead": None if traffic is None else one.states[State.DEAD],
        "last_received": format_iso(one.last_received),
    }


def _received_ago(traffic: dict[str, SourceTraffic] | None, name: str) -> str:
    at = traffic[name].last_received if traffic and name in traffic else None
    return "" if at is None else output.format_age(time.time() - at)


def _describe_scheme(source: Source) -> str:
    """The scheme in force, and where it looks for its proof."""
    rules = source.verification
    adapter_scheme = ADAPTERS[source.adapter].scheme
    place = rules.header or (f"?{rules.query}=" if rules.query else rules.field)
    scheme = rules.scheme or (source.adapter if adapter_scheme else "none")
    return f"{scheme} ({place})" if place and scheme != "none" else scheme


def _changed_settings(source: Source) -> dict[str, Any]:
    """The settings that differ from the defaults, without secrets."""
    names = ("origins", "redirect", "honeypot", "map", "read", "fetch", "lead", "rules")
    plain = Source(name="plain")
    changed = {
        name: getattr(source, name)
        for name in names
        if getattr(source, name) != getattr(plain, name)
    }
    tables = {name: _without_defaults(value) for name, value in changed.items()}
    return (
        tables | {"secret_env": source.verification.secret_env}
        if source.verification.secret_env
        else tables
    )


def _without_defaults(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
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
