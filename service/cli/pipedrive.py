"""`leadline pipedrive …`: Pipedrive's operations as commands, to set up and inspect an account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import click
import msgspec

from service.cli import output
from service.cli.output import print_table
from service.cli.pipedrive_client import build_lookup, open_client
from service.cli.pipedrive_leads import leads, print_deleted, resolve_label
from worker.lead.settings import LABEL_COLORS
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.metadata import CHANNEL_FIELD
from worker.pipedrive.models import CUSTOM_KEY, Label, PipedriveField

colors = click.Choice(get_args(LABEL_COLORS))


@click.group()
def pipedrive() -> None:
    """The Pipedrive account: leads, labels, sources, fields.

    Uses the credentials of the settings.
    """


pipedrive.add_command(leads)


@pipedrive.group()
def labels() -> None:
    """Lead labels: list, add, update, delete."""


@labels.command("list")
@output.json_option
def list_labels(as_json: bool) -> None:
    """List all lead labels."""
    with open_client() as client:
        labels = client.labels.list()
    if as_json:
        output.print_json({"items": labels, "next": None})
        return
    print_table(("id", "name", "color"), [(label.id, label.name, label.color) for label in labels])


@labels.command("add")
@click.option("--name", required=True, help="Its name.")
@click.option("--color", type=colors, default="gray", show_default=True, help="Its colour.")
@output.json_option
def add_label(name: str, color: str, as_json: bool) -> None:
    """Create a label. Pipedrive accepts the same name twice."""
    with open_client() as client:
        label = client.labels.add(name=name, color=color)
    _print_label(label, as_json)


@labels.command("update")
@click.argument("label")
@click.option("--name", help="Its new name.")
@click.option("--color", type=colors, help="Its new colour.")
@output.json_option
def update_label(label: str, name: str | None, color: str | None, as_json: bool) -> None:
    """Rename or recolour LABEL, given by name or id."""
    if name is None and color is None:
        raise click.UsageError("name what to change: --name, --color")
    with open_client() as client:
        changed = client.labels.update(
            resolve_label(build_lookup(client), label), name=name, color=color
        )
    _print_label(changed, as_json)


@labels.command("delete")
@click.argument("label")
@output.yes_option
@output.json_option
def delete_label(label: str, yes: bool, as_json: bool) -> None:
    """Delete LABEL, given by name or id, and remove it from every lead."""
    with open_client() as client:
        id = resolve_label(build_lookup(client), label)
        output.confirm(f"Delete the label {label} and remove it from every lead?", yes=yes)
        deleted = client.labels.delete(id)
    print_deleted(deleted, as_json)


@pipedrive.group()
def sources() -> None:
    """Lead sources, a fixed list of Pipedrive: list."""


@sources.command("list")
@output.json_option
def list_sources(as_json: bool) -> None:
    """List all lead sources. Leads that programs create always have API."""
    with open_client() as client:
        sources = client.sources.list()
    if as_json:
        output.print_json({"items": sources, "next": None})
        return
    print_table(("name",), [(source.name,) for source in sources])


@pipedrive.group()
def fields() -> None:
    """Custom fields and channels: list."""


@fields.command("list")
@output.json_option
def list_fields(as_json: bool) -> None:
    """List the custom fields of leads and persons, and the options of the channel.

    Leads have the custom fields of deals.
    """
    with open_client() as client:
        fields = list(_fields(client))
    if as_json:
        output.print_json({"items": fields, "next": None})
        return
    columns = ("key", "entity", "name", "type", "options")
    print_table(
        columns,
        [(*(each[name] for name in columns[:-1]), _describe_options(each)) for each in fields],
    )


def _fields(client: Pipedrive) -> Iterator[dict[str, Any]]:
    for each in client.deal_fields.list_all():
        if _is_custom(each) or each.field_code == CHANNEL_FIELD:
            yield _describe_field(each, "lead")
    for each in client.person_fields.list_all():
        if _is_custom(each):
            yield _describe_field(each, "person")


def _is_custom(field: PipedriveField) -> bool:
    return field.is_custom_field or CUSTOM_KEY.fullmatch(field.field_code) is not None


def _describe_field(field: PipedriveField, entity: str) -> dict[str, Any]:
    options = msgspec.to_builtins(field.options)
    return {
        "entity": entity,
        "key": field.field_code,
        "name": field.field_name,
        "type": field.field_type,
        "options": options,
    }


def _describe_options(field: dict[str, Any]) -> str:
    return ", ".join(f"{option['label']} ({option['id']})" for option in field["options"])


def _print_label(label: Label, as_json: bool) -> None:
    if as_json:
        output.print_json(label)
        return
    print_table(("id", "name", "color"), [(label.id, label.name, label.color)])
