"""The fields of a lead as options, and the body that is made of them. Names go where Pipedrive wants ids."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any, TypeVar

import click

from worker.pipedrive.names import Directory

Command = TypeVar("Command", bound=Callable[..., Any])

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
AS_THEY_ARE = ("title", "person_id", "organization_id", "origin_id", "visible_to", "was_seen", "is_archived")

_OPTIONS = (
    click.option("--person-id", type=int, help="The person it belongs to."),
    click.option("--organization-id", type=int, help="The organisation it belongs to."),
    click.option("--label", "labels", multiple=True, help="A label by name or id; repeatable. Together they are all its labels."),
    click.option("--channel", help="The marketing channel, by name or id."),
    click.option("--channel-id", help="What the channel calls this lead, such as a campaign."),
    click.option("--owner-id", help="The owner by id, e-mail or name."),
    click.option("--value", metavar="AMOUNT", help="What it may be worth; with --currency."),
    click.option("--currency", help="The currency of --value, such as EUR."),
    click.option("--expected-close-date", metavar="YYYY-MM-DD", help="When it may be won."),
    click.option("--visible-to", type=click.Choice(["1", "3", "5", "7"]), help="Pipedrive's number of the visibility group."),
    click.option("--was-seen/--not-seen", "was_seen", default=None, help="Whether somebody has seen it in Pipedrive."),
    click.option("--custom", multiple=True, metavar="NAME=VALUE", help="A custom field by name or key; repeatable."),
)


def lead_options(command: Command) -> Command:
    """The fields that can be both set at first and changed later."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def lead_body(directory: Directory, given: dict[str, Any], *, changing: bool) -> dict[str, Any]:
    """The body of a create, or of a change, where empty text empties a field. Raises UsageError, and what looking up raises."""
    body: dict[str, Any] = {name: given[name] for name in AS_THEY_ARE if given.get(name) is not None}
    texts: dict[str, Callable[[str], Any]] = {
        "channel": lambda text: channel(directory, text),
        "channel_id": str,
        "owner_id": lambda text: owner(directory, text),
        "expected_close_date": _date,
    }
    for name, read in texts.items():
        if (text := given.get(name)) is not None:
            body[name] = read(text) if text else None
    if given["labels"]:
        body["label_ids"] = [label(directory, name) for name in given["labels"] if name]
    if given["value"] is not None or given["currency"] is not None:
        body["value"] = _value(given["value"], given["currency"])
    for pair in given["custom"]:
        body |= _custom(directory, pair)
    return body if changing else {name: value for name, value in body.items() if value is not None}


def label(directory: Directory, text: str) -> str:
    """The id of a label by name or id."""
    return text.lower() if UUID.fullmatch(text) else directory.label_id(text, setting="--label")


def channel(directory: Directory, text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else directory.channel_id(text, setting="--channel")


def owner(directory: Directory, text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else directory.owner_id(text, setting="--owner-id")


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise click.BadParameter(f"expected YYYY-MM-DD, got {text!r}", param_hint="--expected-close-date") from None


def _value(amount: str | None, currency: str | None) -> dict[str, Any] | None:
    if amount == "" and not currency:
        return None
    if not amount or not currency:
        raise click.UsageError("--value and --currency go together")
    try:
        number = float(amount)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise click.BadParameter(f"expected a number such as 1200.50, got {amount!r}", param_hint="--value")
    return {"amount": int(number) if number.is_integer() else number, "currency": currency.upper()}


def _custom(directory: Directory, pair: str) -> dict[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}", param_hint="--custom")
    field = directory.field(name.strip(), setting="--custom")
    if not text.strip():
        return {field.key: None}
    try:
        return field.encode(text)
    except ValueError as error:
        raise click.BadParameter(f"{field.name}: {error}", param_hint="--custom") from None
