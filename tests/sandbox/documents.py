"""Pipedrive's own OpenAPI documents, cut to the sandbox's operations, and what is known to be wrong
with them.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

from openapi_core import Config, OpenAPI

from tests.tools.extract import CUTS, load

UNCHECKED: Any = None  # the whole document has been checked once
FOLDER = Path(__file__).parent.parent / "pipedrive"
Document = dict[str, Any]
Spot = tuple[str, str]
"""Operation, and the place in its answer or the query parameter."""

_PERSON = ("org_id", "picture_id", "last_name")
_NOTE = (
    "deal_id",
    "person_id",
    "org_id",
    "project_id",
    "task_id",
    "deal",
    "person",
    "organization",
    "project",
    "task",
)
_NEXT = "additional_data.next_cursor"

NULLABLE: dict[str, tuple[str, ...]] = {
    # Typed as never null, and null in an account's answers wherever there is nothing.
    "persons.list": (*(f"data.*.{name}" for name in _PERSON), _NEXT),
    "persons.add": tuple(f"data.{name}" for name in _PERSON),
    "persons.get": ("data.org_id", "data.picture_id", "data.last_name"),
    "persons.update": tuple(f"data.{name}" for name in _PERSON),
    "persons.search": ("data.items.*.item.organization", _NEXT),
    "organizations.list": ("data.*.address", _NEXT),
    "organizations.add": ("data.address",),
    "organizations.get": ("data.address",),
    "organizations.update": ("data.address",),
    "organizations.search": ("data.items.*.item.address", _NEXT),
    "leads.search": (
        *(f"data.items.*.item.{name}" for name in ("person", "organization", "value", "currency")),
        _NEXT,
    ),
    "deals.list": (
        *(
            f"data.*.{name}"
            for name in (
                "person_id",
                "org_id",
                "stage_change_time",
                "won_time",
                "lost_time",
                "expected_close_date",
            )
        ),
        _NEXT,
    ),
    "notes.list": tuple(
        f"data.*.{name}" for name in (*_NOTE, "lead_id", "last_update_user_id", "user.icon_url")
    ),
    "notes.add": tuple(
        f"data.{name}" for name in (*_NOTE, "lead_id", "last_update_user_id", "user.icon_url")
    ),
    "notes.get": tuple(f"data.{name}" for name in (*_NOTE, "last_update_user_id", "user.icon_url")),
    "notes.update": tuple(f"data.{name}" for name in (*_NOTE, "user.icon_url")),
}
"""Operation -> places in its answer; `*` steps into a list's items."""

LISTS: dict[str, str] = {
    # A one-value enum for what is a comma-separated list, or a field name followed by ASC or DESC.
    "leads.list": "sort",
    "leads.archived": "sort",
    "persons.search": "fields",
    "organizations.search": "fields",
    "leads.search": "fields",
}
"""Operation -> query parameter."""

UNDOCUMENTED = frozenset(
    {
        # In the documents' examples or prose, but in no schema.
        "pinned_to_lead_flag",
        "marketing_status",
        "creator_user_id",
        "next_start",
    }
)


@cache
def original(version: str) -> Document:
    """The document as Pipedrive publishes it, with only the operations the sandbox has."""
    whole = load(FOLDER / f"openapi-{version}.yaml.gz")
    paths: Document = {}
    for cut in CUTS[version]:
        item = whole["paths"][cut.path]
        # The refresh path is written with a trailing slash; following that would redirect a POST.
        paths.setdefault(cut.path.rstrip("/"), {})[cut.method] = item[cut.method]
    return whole | {"paths": paths}


def mended(version: str, *, without: Spot | None = None) -> Document:
    """The document with its known too-strict spots mended, all but one if asked."""
    document = copy.deepcopy(original(version))
    for cut in CUTS[version]:
        operation = document["paths"][cut.path.rstrip("/")][cut.method]
        for place in NULLABLE.get(cut.name, ()):
            if (cut.name, place) != without:
                for schema in _answers_at(document, operation, place):
                    schema["nullable"] = True
        for parameter in operation.get("parameters", []):
            if (
                LISTS.get(cut.name) == parameter["name"]
                and (cut.name, parameter["name"]) != without
            ):
                parameter["schema"] = {"type": "string"}
    return document


@cache
def described(version: str) -> Document:
    """The mended document, to look things up in; not to be changed."""
    return mended(version)


@cache
def validator(version: str) -> OpenAPI:
    """An independent validator over the mended document, which is checked itself."""
    return OpenAPI.from_dict(described(version))


def validator_without(version: str, spot: Spot) -> OpenAPI:
    """The same with one spot left as Pipedrive publishes it."""
    return OpenAPI.from_dict(
        mended(version, without=spot), config=Config(spec_validator_cls=UNCHECKED)
    )


def _answers_at(document: Document, operation: Document, place: str) -> list[Document]:
    responses = operation["responses"]
    found = [
        item["content"]["application/json"]["schema"]
        for status, item in responses.items()
        if status.startswith("2")
    ]
    for step in place.split("."):
        found = [child for schema in found for child in children(document, schema, step)]
    assert found, place
    return found


def children(document: Document, schema: Document, step: str) -> list[Document]:
    """The schemas one step below, through references and `allOf`."""
    parts = whole_parts(document, schema)
    if step == "*":
        return [part["items"] for part in parts if "items" in part]
    return [part["properties"][step] for part in parts if step in part.get("properties", {})]


def whole_parts(document: Document, schema: Document) -> list[Document]:
    """A schema and all it is put together from."""
    if "$ref" in schema:
        found: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return whole_parts(document, found)
    return [
        schema,
        *(part for child in schema.get("allOf", []) for part in whole_parts(document, child)),
    ]
