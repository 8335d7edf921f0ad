"""Pipedrive's OpenAPI documents, reduced to the sandbox's operations, and their known mistakes."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

from openapi_core import Config, OpenAPI

from tests.tools.extract import OPERATIONS, load

UNCHECKED: Any = None  # the whole document has been checked once
FOLDER = Path(__file__).parent.parent / "pipedrive"
Document = dict[str, Any]
# Operation, and the place in its response or the query parameter.
Mistake = tuple[str, str]

_PERSON = ("org_id", "picture_id", "last_name")
_DEAL = (
    "person_id",
    "org_id",
    "stage_change_time",
    "won_time",
    "lost_time",
    "expected_close_date",
)
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

# Operation -> places in its response that are typed as never null, but are null wherever there is
# nothing. `*` steps into the items of a list.
NULLABLE: dict[str, tuple[str, ...]] = {
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
    "deals.list": (*(f"data.*.{name}" for name in _DEAL), _NEXT),
    "deals.archived": (*(f"data.*.{name}" for name in _DEAL), _NEXT),
    "deals.update": tuple(f"data.{name}" for name in _DEAL),
    "notes.list": tuple(
        f"data.*.{name}" for name in (*_NOTE, "lead_id", "last_update_user_id", "user.icon_url")
    ),
    "notes.add": tuple(
        f"data.{name}" for name in (*_NOTE, "lead_id", "last_update_user_id", "user.icon_url")
    ),
    "notes.get": tuple(f"data.{name}" for name in (*_NOTE, "last_update_user_id", "user.icon_url")),
    "notes.update": tuple(f"data.{name}" for name in (*_NOTE, "user.icon_url")),
}

# Operation -> query parameter that is an enum of one value, but takes a comma-separated list or a
# field name followed by ASC or DESC.
LISTS: dict[str, str] = {
    "leads.list": "sort",
    "leads.archived": "sort",
    "persons.search": "fields",
    "organizations.search": "fields",
    "leads.search": "fields",
}

# In examples or prose of the documents, but in no schema.
UNDOCUMENTED = frozenset(
    {
        "pinned_to_lead_flag",
        "marketing_status",
        "creator_user_id",
        "file_type",
        "next_start",
    }
)


@cache
def read_document(version: str) -> Document:
    """The document as Pipedrive publishes it, with only the operations the sandbox has."""
    whole = load(FOLDER / f"openapi-{version}.yaml.gz")
    paths: Document = {}
    for source in OPERATIONS[version]:
        item = whole["paths"][source.path]
        # The refresh path is written with a trailing slash; following that would redirect a POST.
        paths.setdefault(source.path.rstrip("/"), {})[source.method] = item[source.method]
    return whole | {"paths": paths}


def correct_document(version: str, *, without: Mistake | None = None) -> Document:
    """The document with its known mistakes corrected, all but `without`."""
    document = copy.deepcopy(read_document(version))
    for source in OPERATIONS[version]:
        operation = document["paths"][source.path.rstrip("/")][source.method]
        for place in NULLABLE.get(source.name, ()):
            if (source.name, place) != without:
                for schema in _find_schemas(document, operation, place):
                    schema["nullable"] = True
        for parameter in operation.get("parameters", []):
            if (
                LISTS.get(source.name) == parameter["name"]
                and (source.name, parameter["name"]) != without
            ):
                parameter["schema"] = {"type": "string"}
    return document


@cache
def lookup_document(version: str) -> Document:
    """The corrected document, for looking things up; it must not be changed."""
    return correct_document(version)


@cache
def build_validator(version: str) -> OpenAPI:
    """An independent validator with the corrected document, which is validated itself."""
    return OpenAPI.from_dict(lookup_document(version))


def build_validator_without(version: str, mistake: Mistake) -> OpenAPI:
    """The same with one mistake left as Pipedrive publishes it."""
    return OpenAPI.from_dict(
        correct_document(version, without=mistake), config=Config(spec_validator_cls=UNCHECKED)
    )


def _find_schemas(document: Document, operation: Document, place: str) -> list[Document]:
    responses = operation["responses"]
    schemas = [
        item["content"]["application/json"]["schema"]
        for status, item in responses.items()
        if status.startswith("2")
    ]
    for step in place.split("."):
        schemas = [child for schema in schemas for child in children(document, schema, step)]
    assert schemas, place
    return schemas


def children(document: Document, schema: Document, step: str) -> list[Document]:
    """The schemas one step below, through references and `allOf`."""
    parts = list_parts(document, schema)
    if step == "*":
        return [part["items"] for part in parts if "items" in part]
    return [part["properties"][step] for part in parts if step in part.get("properties", {})]


def list_parts(document: Document, schema: Document) -> list[Document]:
    """A schema and everything that it is composed of."""
    if "$ref" in schema:
        target: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return list_parts(document, target)
    return [
        schema,
        *(part for child in schema.get("allOf", []) for part in list_parts(document, child)),
    ]
