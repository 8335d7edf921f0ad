"""`fluent-forms`: the webhook of Fluent Forms for WordPress, as JSON or a form.

Answers have the names of their fields, a person's name is `names[first_name]`. A webhook that sends
all fields also sends WordPress's nonces, and the entry in `__submission`, which repeats the answers
in `user_inputs`. An entry's id is unique within one site. The page is a URL in `source_url`, and a
path in `_wp_http_referer`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.adapters.base import Adapter, by_body
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    object_at,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.payload.unwrap import nest_brackets

SUBMISSION = "__submission"
PAGE_PATH = "_wp_http_referer"
POST_ID = "__fluent_form_embded_post_id"
# The plugin's names for a person's name (a second one is `names_1`) and website.
NAMES = "names"
WEBSITE = "url"
NAME_PARTS = frozenset({"first_name", "middle_name", "last_name"})
_NONCE = re.compile(r"_fluentform_([0-9]+)_fluentformnonce", re.ASCII)
_HONEYPOT = re.compile(r"item_[0-9]+__fluent_sf", re.ASCII)


def event(top: Table) -> ParsedEvent:
    tree = nest_brackets(top)
    entry = object_at(tree, SUBMISSION)
    return event_from_questions(
        tree,
        _questions(tree),
        at=(),
        lead_fields=drop_empty(
            form_id=text_at(entry, "form_id") or _form_of_nonce(tree),
            page_url=text_at(entry, "source_url") or text_at(tree, PAGE_PATH),
            occurred_at=text_at(entry, "created_at"),
        ),
        event_id=text_at(entry, "id"),
    )


def _questions(tree: Table) -> Iterator[FormQuestion]:
    for key, value in tree.items():
        is_bookkeeping = key in (SUBMISSION, PAGE_PATH, POST_ID) or _NONCE.fullmatch(key)
        if not is_bookkeeping and not _HONEYPOT.fullmatch(key):
            is_name = isinstance(value, dict) and value.keys() <= NAME_PARTS
            yield FormQuestion(
                key=key,
                value=value,
                whole=is_name,
                lead_field=_lead_field(key, is_name=is_name),
            )


def _lead_field(key: str, *, is_name: bool) -> str | None:
    if key == WEBSITE:
        return "website"
    return "name" if is_name and key == NAMES else None


def _form_of_nonce(tree: Table) -> str | None:
    """The form's number, from the name of its nonce."""
    return next((match[1] for key in tree if (match := _NONCE.fullmatch(key))), None)


def _is_entry(top: Table) -> bool:
    entry = object_at(nest_brackets(top), SUBMISSION)
    return {"form_id", "serial_number"} <= entry.keys()


def _has_nonce(top: Table) -> bool:
    return POST_ID in top or _form_of_nonce(top) is not None


ADAPTER = Adapter(
    name="fluent-forms",
    title="Fluent Forms",
    read=body_reader(event),
    detectors=(
        by_body(_is_entry, "__submission with its form_id and serial_number"),
        by_body(_has_nonce, "names that only Fluent Forms gives"),
    ),
    reply=200,
)
