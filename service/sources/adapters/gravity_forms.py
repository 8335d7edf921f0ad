"""`gravity-forms`: the Webhooks add-on, as JSON or a form, with all fields of the entry or some.

Answers are under the numbers of their fields (`1`, `1.3`), without labels, among the entry's
bookkeeping: `map` says which is which. Fields that the add-on sends under custom names are
recognised by those. An entry's id is unique within one site.
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
    find_only_address,
    text_at,
)
from service.sources.payload.event import ParsedEvent
from service.sources.request import Outcome

# About the entry rather than the visitor. What was paid is kept.
BOOKKEEPING = frozenset({
    "id", "form_id", "post_id", "date_created", "date_updated", "is_starred", "is_read", "ip",
    "source_url", "source_id", "user_agent", "currency", "created_by", "is_fulfilled",
    "is_approved", "status", "transaction_type", "submission_speeds",
})  # fmt: skip
_NUMBERED = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


def event(top: Table) -> ParsedEvent | None:
    is_spam = text_at(top, "status") == "spam"
    return event_from_questions(
        top,
        _questions(top),
        at=(),
        lead_fields=drop_empty(
            form_id=text_at(top, "form_id"),
            page_url=text_at(top, "source_url"),
            occurred_at=text_at(top, "date_created"),
        ),
        event_id=text_at(top, "id"),
        outcome=Outcome.SPAM if is_spam else None,
        reason="the site marked the entry as spam" if is_spam else None,
    )


def _questions(top: Table) -> Iterator[FormQuestion]:
    email = find_only_address({key: top[key] for key in top if _NUMBERED.fullmatch(key)})
    for key, value in top.items():
        if key not in BOOKKEEPING:
            yield FormQuestion(key=key, value=value, lead_field="email" if key == email else None)


def _is_entry(top: Table) -> bool:
    has_number = any(_NUMBERED.fullmatch(key) for key in top)
    is_entry = {"form_id", "id"} <= top.keys()
    return (
        has_number and is_entry and bool(top.keys() & {"date_created", "source_url", "is_starred"})
    )


ADAPTER = Adapter(
    name="gravity-forms",
    title="Gravity Forms",
    read=body_reader(event),
    detectors=(by_body(_is_entry, "numbered answers among form_id, date_created and source_url"),),
    reply=200,
)
