"""`contact-form-7`: Contact Form 7 with the plugin "CF7 to Webhook", or a post of its fields.

Names are the form's tags: `your-email`, or as the editor makes them, `tel-123` and
`acceptance-456`. Special mail tags and the plugin's own fields begin with `_`. Any answer but 200,
201, 202, 204 and 205 is an error that the visitor sees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.sources.adapters.base import Adapter, Evidence, by_body
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    drop_empty,
    event_from_questions,
    join_parts,
    text_at,
)
from service.sources.payload.event import ParsedEvent

BOOKKEEPING = frozenset({"_remote_ip", "_user_agent", "_url", "_date", "_time"})
_INTERNAL = "_wpcf7"
_TAG = re.compile(
    r"your-[a-z-]+|(?:text|email|tel|url|textarea|menu|checkbox|radio|acceptance|number|date)-[0-9]+"
)


def event(top: Table) -> ParsedEvent | None:
    return event_from_questions(
        top,
        _questions(top),
        at=(),
        lead_fields=drop_empty(
            page_url=text_at(top, "_url"),
            form_id=text_at(top, _INTERNAL),
            occurred_at=join_parts(text_at(top, "_date"), text_at(top, "_time")),
        ),
    )


def _questions(top: Table) -> Iterator[FormQuestion]:
    for key, value in top.items():
        if key not in BOOKKEEPING and not key.startswith(_INTERNAL):
            yield FormQuestion(key=key, value=value)


def _has_form_tags(top: Table) -> bool:
    tags = sum(bool(_TAG.fullmatch(key)) for key in top)
    has_mail_tags = bool(top.keys() & {"_remote_ip", "_url"})
    return any(key.startswith(_INTERNAL) for key in top) or tags > 2 or (tags > 0 and has_mail_tags)


ADAPTER = Adapter(
    name="contact-form-7",
    title="Contact Form 7",
    read=body_reader(event),
    detectors=(
        by_body(
            _has_form_tags,
            "tags such as your-email beside _remote_ip, _url or _wpcf7",
            evidence=Evidence.CONVENTION,
        ),
    ),
    reply=200,
)
