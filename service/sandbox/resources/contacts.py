"""What persons and organizations share: labels, owners, time of creation, the views of v2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from service.sandbox.account.company import Company, seconds
from service.sandbox.account.custom_fields import check_custom
from service.sandbox.account.stock import Field
from service.sandbox.errors import invalid

Record = dict[str, Any]


def check_labels(body: Record, known: dict[int, str]) -> None:
    """Raises `Refusal` (400) for a label that is none of the kind's options."""
    for key in body.get("label_ids", []):
        if key not in known:
            raise invalid(f'"label_ids" holds {key}, which is not a label of this company')


def created_at(body: Record, company: Company) -> str:
    """`add_time` as v2 stores it: the one given, if it reads, else now."""
    given = body.get("add_time")
    if given is None:
        return seconds(company.now())
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise invalid('"add_time" is not a valid datetime') from error
    return seconds(moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC))


def merged_custom(old: Record, body: Record, fields: dict[str, Field]) -> Record:
    """The custom fields after a change: checked, null empties, what is not named stays."""
    given: Record = body.get("custom_fields", {})
    check_custom(given, fields)
    return old | given


def listed_channels(given: list[Record]) -> list[Record]:
    """E-mails or phones with what the server fills in: label `work`, and the first one primary if
    none is.
    """
    channels = [
        {
            "value": item["value"],
            "primary": bool(item.get("primary")),
            "label": item.get("label", "work"),
        }
        for item in given
    ]
    if channels and not any(channel["primary"] for channel in channels):
        channels[0]["primary"] = True
    return channels


def only_asked(records: list[Record], query: Record, hidden: tuple[str, ...]) -> list[Record]:
    """Records as v2 shows them: `hidden` fields only if `include_fields` names them, custom fields
    only those asked for.
    """
    include, wanted = query.get("include_fields", []), query.get("custom_fields")
    drop = {field for field in hidden if field not in include}
    if wanted is not None and len(wanted) > 15:
        raise invalid('"custom_fields" must not name more than 15 keys')
    views = [{key: value for key, value in record.items() if key not in drop} for record in records]
    if wanted is not None:
        for view in views:
            view["custom_fields"] = {
                key: value for key, value in view["custom_fields"].items() if key in wanted
            }
    return views


def with_ids(records: list[Record], query: Record) -> list[Record]:
    """Only the records of `ids`, where it is given; raises `Refusal` (400) for more than 100 or for
    no numbers.
    """
    if "ids" not in query:
        return records
    if len(query["ids"]) > 100 or not all(key.isdecimal() for key in query["ids"]):
        raise invalid('"ids" must be up to 100 comma separated ids')
    wanted = {int(key) for key in query["ids"]}
    return [record for record in records if record["id"] in wanted]


def split_name(name: str) -> tuple[str | None, str | None]:
    """First and last name as Pipedrive splits them: the last word is the last name."""
    *first, last = name.split()
    return (" ".join(first), last) if first else (last, None)
