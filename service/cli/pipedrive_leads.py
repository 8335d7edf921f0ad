"""`leadline pipedrive leads …`: lists, shows and changes the leads of the account."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, TypeVar

import click
import msgspec

from service.cli import output
from service.cli.output import print_pairs, print_table
from service.cli.pipedrive_client import build_lookup, open_client
from worker.lead.fields import LEAD_FIELDS, LeadFieldKind
from worker.pipedrive.metadata import MetadataKind, MetadataLookup
from worker.pipedrive.models import PipedriveLead
from worker.units import int_if_whole

# The fields of a lead as options, and the request body. Names are accepted where Pipedrive wants
# ids.

Command = TypeVar("Command", bound=Callable[..., Any])

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Fields of a lead besides `LEAD_FIELDS`.
OTHER_FIELDS = ("person_id", "organization_id", "was_seen", "is_archived")

_OPTIONS = (
    click.option("--person-id", type=int, help="The person it belongs to."),
    click.option("--organization-id", type=int, help="The organisation it belongs to."),
    click.option(
        "--label",
        "labels",
        multiple=True,
        help="A label by name or id; repeatable. They replace all labels.",
    ),
    click.option("--channel", help="The marketing channel, by name or id."),
    click.option("--channel-id", help="The channel's id of this lead, such as a campaign."),
    click.option("--owner-id", help="The owner by id, e-mail or name."),
    click.option("--value", metavar="AMOUNT", help="Its value; with --currency."),
    click.option("--currency", help="The currency of --value, such as EUR."),
    click.option(
        "--expected-close-date", metavar="YYYY-MM-DD", help="When it is expected to be won."
    ),
    click.option(
        "--visible-to",
        type=click.Choice(["1", "3", "5", "7"]),
        help="Who can see it: Pipedrive's number of the visibility group.",
    ),
    click.option(
        "--was-seen/--not-seen",
        "was_seen",
        default=None,
        help="Whether somebody has seen it in Pipedrive.",
    ),
    click.option(
        "--custom",
        multiple=True,
        metavar="NAME=VALUE",
        help="A custom field by name or key; repeatable.",
    ),
)


def lead_options(command: Command) -> Command:
    """Adds the fields that can be set and changed."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def build_lead_body(
    lookup: MetadataLookup, values: dict[str, Any], *, changing: bool
) -> dict[str, Any]:
    """The request body of a create, or of a change, in which empty text empties a field.

    Raises UsageError, and LeadlineError where a name cannot be looked up.
    """
    body: dict[str, Any] = {
        name: values[name] for name in OTHER_FIELDS if values.get(name) is not None
    }
    parsers: dict[LeadFieldKind, Callable[[str], Any]] = {
        LeadFieldKind.TEXT: str,
        LeadFieldKind.ORIGIN: str,
        LeadFieldKind.VISIBILITY: str,
        LeadFieldKind.CHANNEL: lambda text: resolve_channel(lookup, text),
        LeadFieldKind.OWNER: lambda text: resolve_owner(lookup, text),
        LeadFieldKind.DATE: _parse_date,
    }
    for field in LEAD_FIELDS:
        text = values.get(field.api_name)
        if field.kind in parsers and text is not None:
            body[field.api_name] = parsers[field.kind](text) if text else None
    if values["labels"]:
        body["label_ids"] = [resolve_label(lookup, name) for name in values["labels"] if name]
    if values["value"] is not None or values["currency"] is not None:
        body["value"] = _parse_value(values["value"], values["currency"])
    for pair in values["custom"]:
        body |= _parse_custom(lookup, pair)
    return body if changing else {name: value for name, value in body.items() if value is not None}


def resolve_label(lookup: MetadataLookup, text: str) -> str:
    """The id of a label by name or id."""
    return text.lower() if UUID.fullmatch(text) else lookup.label_id(text, setting="--label")


def resolve_channel(lookup: MetadataLookup, text: str) -> int:
    return (
        int(text)
        if text.isascii() and text.isdecimal()
        else lookup.channel_id(text, setting="--channel")
    )


def resolve_owner(lookup: MetadataLookup, text: str) -> int:
    return (
        int(text)
        if text.isascii() and text.isdecimal()
        else lookup.owner_id(text, setting="--owner-id")
    )


def _parse_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise click.BadParameter(
            f"expected YYYY-MM-DD, got {text!r}", param_hint="--expected-close-date"
        ) from None


def _parse_value(amount: str | None, currency: str | None) -> dict[str, Any] | None:
    if amount == "" and not currency:
        return None
    if not amount or not currency:
        raise click.UsageError("--value and --currency go together")
    try:
        number = float(amount)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise click.BadParameter(
            f"expected a number such as 1200.50, got {amount!r}", param_hint="--value"
        )
    return {"amount": int_if_whole(number), "currency": currency.upper()}


def _parse_custom(lookup: MetadataLookup, pair: str) -> dict[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}", param_hint="--custom")
    field = lookup.field(name.strip(), setting="--custom")
    if not text.strip():
        return {field.key: None}
    try:
        return field.encode(text)
    except ValueError as error:
        raise click.BadParameter(f"{field.name}: {error}", param_hint="--custom") from None


COLUMNS = (
    "id",
    "title",
    "labels",
    "channel",
    "channel_id",
    "owner",
    "person",
    "organization",
    "value",
    "added",
)


@click.group()
def leads() -> None:
    """Leads: list, get, add, update, delete."""


@leads.command("list")
@click.option("--person-id", type=int, help="Only this person's.")
@click.option("--organization-id", type=int, help="Only this organisation's.")
@click.option("--archived", is_flag=True, help="The archived leads instead of the others.")
@click.option(
    "--limit",
    type=click.IntRange(1, 500),
    default=100,
    show_default=True,
    help="At most this many.",
)
@click.option(
    "--start", type=click.IntRange(0), default=0, show_default=True, help="How many to skip."
)
@output.json_option
def list_(
    person_id: int | None,
    organization_id: int | None,
    archived: bool,
    limit: int,
    start: int,
    as_json: bool,
) -> None:
    """List leads, oldest first. Shows personal data."""
    with open_client() as client:
        fetch = client.leads.list_archived if archived else client.leads.list
        page = fetch(limit=limit, start=start, person_id=person_id, organization_id=organization_id)
        if as_json:
            output.print_json(
                {"items": [flatten_lead(lead) for lead in page], "next": page.next_start}
            )
            return
        name = _build_namer(build_lookup(client), page.items)
        print_table(COLUMNS, [_row(lead, name) for lead in page])
    if page.next_start is not None:
        click.echo(f"more: --start {page.next_start}")


@leads.command()
@click.argument("id")
@output.json_option
def get(id: str, as_json: bool) -> None:
    """Show one lead, archived or not."""
    with open_client() as client:
        lead = client.leads.get(id)
        _print_lead(lead, build_lookup(client), as_json)


@leads.command()
@click.option("--title", required=True, help="Its title.")
@click.option("--origin-id", help="Its id where it comes from; cannot be changed later.")
@lead_options
@output.json_option
def add(as_json: bool, **values: Any) -> None:
    """Create a lead. It needs --person-id, --organization-id or both."""
    if values["person_id"] is None and values["organization_id"] is None:
        raise click.UsageError(
            "a lead belongs to somebody: add --person-id, --organization-id or both"
        )
    with open_client() as client:
        lookup = build_lookup(client)
        lead = client.leads.add(build_lead_body(lookup, values, changing=False))
        _print_lead(lead, lookup, as_json)


@leads.command()
@click.argument("id")
@click.option("--title", help="Its title.")
@lead_options
@click.option(
    "--archived/--not-archived", "is_archived", default=None, help="Archive it, or bring it back."
)
@output.json_option
def update(id: str, as_json: bool, **values: Any) -> None:
    """Change the given fields. Empty text empties a field; --label replaces all labels."""
    with open_client() as client:
        lookup = build_lookup(client)
        body = build_lead_body(lookup, values, changing=True)
        if not body:
            raise click.UsageError("name at least one field to change")
        _print_lead(client.leads.update(id, body), lookup, as_json)


@leads.command()
@click.argument("id")
@output.yes_option
@output.json_option
def delete(id: str, yes: bool, as_json: bool) -> None:
    """Delete a lead for good."""
    with open_client() as client:
        title = "" if yes else f" ({client.leads.get(id).title})"
        output.confirm(f"Delete the lead {id}{title} for good?", yes=yes)
        deleted = client.leads.delete(id)
    print_deleted(deleted, as_json)


def print_deleted(id: str, as_json: bool) -> None:
    if as_json:
        output.print_json({"id": id})
    else:
        click.echo(f"deleted {id}")


def flatten_lead(lead: PipedriveLead) -> dict[str, Any]:
    """A lead in Pipedrive's own form: custom fields beside the others, under their keys."""
    fields: dict[str, Any] = msgspec.to_builtins(lead)
    custom: dict[str, Any] = fields.pop("custom")
    return fields | custom


def _print_lead(lead: PipedriveLead, lookup: MetadataLookup, as_json: bool) -> None:
    if as_json:
        output.print_json(flatten_lead(lead))
        return
    name = _build_namer(lookup, [lead])
    print_pairs(_pairs(lead, name, lookup))


Namer = Callable[[MetadataKind, object], str]


def _build_namer(lookup: MetadataLookup, leads: list[PipedriveLead]) -> Namer:
    """Returns a function that names the ids in these leads; it reads only the lists they need."""
    tables = {
        MetadataKind.LABELS: any(lead.label_ids for lead in leads),
        MetadataKind.CHANNELS: any(lead.channel is not None for lead in leads),
    }
    names = {
        (kind, str(entry.id)): entry.name
        for kind, is_needed in tables.items()
        if is_needed
        for entry in lookup.table(kind).items
    }
    return lambda kind, key: names.get((kind, str(key)), str(key))


def _row(lead: PipedriveLead, name: Namer) -> tuple[object, ...]:
    return (
        lead.id,
        lead.title,
        [name(MetadataKind.LABELS, key) for key in lead.label_ids],
        None if lead.channel is None else name(MetadataKind.CHANNELS, lead.channel),
        lead.channel_id,
        lead.owner_id,
        lead.person_id,
        lead.organization_id,
        format_money(lead),
        (lead.add_time or "")[:16].replace("T", " "),
    )


def _pairs(
    lead: PipedriveLead, name: Namer, lookup: MetadataLookup
) -> Iterator[tuple[str, object]]:
    yield from zip(COLUMNS, _row(lead, name), strict=True)
    for field in (
        "origin_id",
        "expected_close_date",
        "visible_to",
        "was_seen",
        "is_archived",
        "update_time",
    ):
        yield field, getattr(lead, field)
    keys = (
        {str(entry.id): entry.name for entry in lookup.table(MetadataKind.DEAL_FIELDS).items}
        if lead.custom
        else {}
    )
    for key, value in lead.custom.items():
        yield keys.get(key, key), value


def format_money(lead: PipedriveLead) -> str | None:
    if lead.value is None or lead.value.amount is None:
        return None
    return f"{lead.value.amount:,.2f} {lead.value.currency or ''}".strip()
