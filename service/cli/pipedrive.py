"""`leadline pipedrive …`: Pipedrive's operations by hand, for setting an account up and for looking
things up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import click
import msgspec

from service.cli import output
from service.cli.output import print_columns
from service.cli.pipedrive_client import build_lookup, open_client
from service.cli.pipedrive_leads import leads, print_deleted
from service.cli.pipedrive_leads import resolve_label as label_id
from worker.lead.settings import LABEL_COLORS
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.metadata import CHANNEL_FIELD
from worker.pipedrive.models import CUSTOM_KEY, Label, PipedriveField

colors = click.Choice(get_args(LABEL_COLORS))


@click.group()
def pipedrive() -> None:
    """Leads, labels, sources and fields of the Pipedrive account, with the credentials of the
    settings.
    """


pipedrive.add_command(leads)


@pipedrive.group()
def labels() -> None:
    """Lead labels: list, add, update, delete."""


@labels.command("list")
@output.json_option
def list_labels(as_json: bool) -> None:
    """All lead labels."""
    with open_client() as client:
        labels = client.labels.list()
    if as_json:
        output.print_json({"items": labels, "next": None})
        return
    print_columns(
        ("id", "name", "color"), [(label.id, label.name, label.color) for label in labels]
    )


@labels.command("add")
@click.option("--name", required=True, help="What it is called.")
@click.option("--color", type=colors, default="gray", show_default=True, help="Its colour.")
@output.json_option
def add_label(name: str, color: str, as_json: bool) -> None:
    """Creates a label. Pipedrive takes the same name twice."""
    with open_client() as client:
        made = client.labels.add(name=name, color=color)
    _print_label(made, as_json)


@labels.command("update")
@click.argument("label")
@click.option("--name", help="Its new name.")
@click.option("--color", type=colors, help="Its new colour.")
@output.json_option
def update_label(label: str, name: str | None, color: str | None, as_json: bool) -> None:
    """Renames or recolours LABEL, given by name or id."""
    if name is None and color is None:
        raise click.UsageError("say what to change: --name, --color")
    with open_client() as client:
        changed = client.labels.update(
            label_id(build_lookup(client), label), name=name, color=color
        )
    _print_label(changed, as_json)


@labels.command("delete")
@click.argument("label")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output.json_option
def delete_label(label: str, yes: bool, as_json: bool) -> None:
    """Deletes LABEL, given by name or id, and takes it off every lead."""
    with open_client() as client:
        label_id = label_id(build_lookup(client), label)
        if not yes:
            click.confirm(
                f"Delete the label {label} and take it off every lead?", abort=True, err=True
            )
        deleted = client.labels.delete(label_id)
    print_deleted(deleted, as_json)


@pipedrive.group()
def sources() -> None:
    """Lead sources, which Pipedrive fixes: list."""


@sources.command("list")
@output.json_option
def list_sources(as_json: bool) -> None:
    """All lead sources. Leads made by programs always have API."""
    with open_client() as client:
        sources = client.sources.list()
    if as_json:
        output.print_json({"items": sources, "next": None})
        return
    print_columns(("name",), [(source.name,) for source in sources])


@pipedrive.group()
def fields() -> None:
    """Custom fields and channels: list."""


@fields.command("list")
@output.json_option
def list_fields(as_json: bool) -> None:
    """The custom fields of leads (they are those of deals) and of persons, and the options of the
    channel.
    """
    with open_client() as client:
        fields = list(_fields(client))
    if as_json:
        output.print_json({"items": fields, "next": None})
        return
    columns = ("key", "entity", "name", "type", "options")
    print_columns(
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
    print_columns(("id", "name", "color"), [(label.id, label.name, label.color)])
