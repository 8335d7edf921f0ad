"""`leadline pipedrive leads …`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click
import msgspec

from service.cli import show
from service.cli.account import directory_of, opened
from service.cli.columns import print_columns, print_pairs
from service.cli.lead_fields import lead_body, lead_options
from worker.pipedrive.inventory import Kind
from worker.pipedrive.models import Lead
from worker.pipedrive.names import Directory

COLUMNS = ("id", "title", "labels", "channel", "channel_id", "owner", "person", "organization", "value", "added")


@click.group()
def leads() -> None:
    """Leads: list, get, add, update, delete."""


@leads.command("list")
@click.option("--person-id", type=int, help="Only of this person.")
@click.option("--organization-id", type=int, help="Only of this organisation.")
@click.option("--archived", is_flag=True, help="Archived leads instead of the others.")
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="How many at the most.")
@click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="How many to skip.")
@show.json_option
def list_(person_id: int | None, organization_id: int | None, archived: bool, limit: int, start: int, as_json: bool) -> None:
    """Leads, oldest first. Shows personal data."""
    with opened() as client:
        fetch = client.leads.archived if archived else client.leads.list
        page = fetch(limit=limit, start=start, person_id=person_id, organization_id=organization_id)
        if as_json:
            show.print_json({"items": [as_vendor(lead) for lead in page], "next": page.next_start})
            return
        name = _namer(directory_of(client), page.items)
        print_columns(COLUMNS, [_row(lead, name) for lead in page])
    if page.next_start is not None:
        click.echo(f"more: --start {page.next_start}")


@leads.command()
@click.argument("id")
@show.json_option
def get(id: str, as_json: bool) -> None:
    """One lead, archived or not."""
    with opened() as client:
        lead = client.leads.get(id)
        _print(lead, directory_of(client), as_json)


@leads.command()
@click.option("--title", required=True, help="What it is called.")
@click.option("--origin-id", help="What it is called where it comes from; cannot be changed later.")
@lead_options
@show.json_option
def add(as_json: bool, **given: Any) -> None:
    """Creates a lead. It needs --person-id, --organization-id or both."""
    if given["person_id"] is None and given["organization_id"] is None:
        raise click.UsageError("a lead belongs to somebody: give --person-id, --organization-id or both")
    with opened() as client:
        directory = directory_of(client)
        lead = client.leads.add(lead_body(directory, given, changing=False))
        _print(lead, directory, as_json)


@leads.command()
@click.argument("id")
@click.option("--title", help="What it is called.")
@lead_options
@click.option("--archived/--not-archived", "is_archived", default=None, help="Puts it away, or back.")
@show.json_option
def update(id: str, as_json: bool, **given: Any) -> None:
    """Changes what is given; empty text empties a field, and --label replaces all labels."""
    with opened() as client:
        directory = directory_of(client)
        body = lead_body(directory, given, changing=True)
        if not body:
            raise click.UsageError("say what to change")
        _print(client.leads.update(id, body), directory, as_json)


@leads.command()
@click.argument("id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@show.json_option
def delete(id: str, yes: bool, as_json: bool) -> None:
    """Deletes a lead for good."""
    with opened() as client:
        if not yes:
            title = client.leads.get(id).title
            click.confirm(f"Delete the lead {id} ({title}) for good?", abort=True, err=True)
        deleted = client.leads.delete(id)
    print_deleted(deleted, as_json)


def print_deleted(id: str, as_json: bool) -> None:
    if as_json:
        show.print_json({"id": id})
    else:
        click.echo(f"deleted {id}")


def as_vendor(lead: Lead) -> dict[str, Any]:
    """A lead in Pipedrive's own shape: custom fields beside the others, under their keys."""
    fields: dict[str, Any] = msgspec.to_builtins(lead)
    custom: dict[str, Any] = fields.pop("custom")
    return fields | custom


def _print(lead: Lead, directory: Directory, as_json: bool) -> None:
    if as_json:
        show.print_json(as_vendor(lead))
        return
    name = _namer(directory, [lead])
    print_pairs(_pairs(lead, name, directory))


Namer = Callable[[Kind, object], str]


def _namer(directory: Directory, leads: list[Lead]) -> Namer:
    """Names for the ids that these leads hold; a list is read only where one of them needs it."""
    tables = {
        Kind.LABELS: any(lead.label_ids for lead in leads),
        Kind.CHANNELS: any(lead.channel is not None for lead in leads),
    }
    names = {
        (kind, str(entry.id)): entry.name for kind, wanted in tables.items() if wanted for entry in directory.table(kind).items
    }
    return lambda kind, key: names.get((kind, str(key)), str(key))


def _row(lead: Lead, name: Namer) -> tuple[object, ...]:
    return (
        lead.id,
        lead.title,
        [name(Kind.LABELS, key) for key in lead.label_ids],
        None if lead.channel is None else name(Kind.CHANNELS, lead.channel),
        lead.channel_id,
        lead.owner_id,
        lead.person_id,
        lead.organization_id,
        money(lead),
        (lead.add_time or "")[:16].replace("T", " "),
    )


def _pairs(lead: Lead, name: Namer, directory: Directory) -> Iterator[tuple[str, object]]:
    yield from zip(COLUMNS, _row(lead, name), strict=True)
    for field in ("origin_id", "expected_close_date", "visible_to", "was_seen", "is_archived", "update_time"):
        yield field, getattr(lead, field)
    keys = {str(entry.id): entry.name for entry in directory.table(Kind.DEAL_FIELDS).items} if lead.custom else {}
    for key, value in lead.custom.items():
        yield keys.get(key, key), value


def money(lead: Lead) -> str | None:
    if lead.value is None or lead.value.amount is None:
        return None
    return f"{lead.value.amount:,.2f} {lead.value.currency or ''}".strip()
