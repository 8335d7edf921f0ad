"""The one note of a submission, as HTML: what was said, and where it came from. What the sender
wrote is escaped and inert.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from worker.contract import Lead
from worker.lead.templates import UTM, as_text

LONGEST = 20_000
"""Characters of a whole note; Pipedrive has a limit and does not say which."""
ANSWER, ADDRESS, SHORT, LABEL, SENTENCE = 2_000, 1_000, 250, 80, 300
"""Characters, once escaped, of an answer, a URL, any other value, a label, a sentence of our own.
"""
MOST_CLICK_IDS = 12
MOST_SENTENCES = 6
"""With these, the worst of senders leaves more than 4,000 characters to the message and the
answers.
"""


class Line(NamedTuple):
    label: str
    text: str
    limit: int = SHORT


def note_html(
    lead: Lead,
    *,
    source: str,
    submission_id: str,
    left_out: Sequence[str] = (),
    value_written: bool = False,
    always: bool = False,
) -> str | None:
    """The note of a submission, at most `LONGEST` characters.

    None when there is neither message nor answer nor attribution that Pipedrive has no other place
    for, unless `always`. `left_out` are plain sentences about values that could not be written;
    `value_written` says that the lead's value could.
    """
    details, attribution = _details(lead, value_written=value_written), _attribution(lead)
    if not (
        lead.message or any(lead.answers.values()) or details or attribution or left_out or always
    ):
        return None
    tail = "".join(
        (
            _list("Details", [*details, *_context(lead)]),
            _list("Attribution", attribution),
            _list(
                "Not written to Pipedrive",
                _first([Line("", text, SENTENCE) for text in left_out], MOST_SENTENCES, "remark"),
            ),
            f"<p>{html.escape(mark(source, submission_id))}</p>",
        )
    )
    room = LONGEST - len(tail)
    message = _message(lead.message, room // 2 if lead.answers else room)
    return message + _answers(lead, room - len(message)) + tail


def mark(source: str, submission_id: str) -> str:
    """The last line of a note, by which it is found again."""
    return f"Leadline {source}:{submission_id}"


def marks(note: str, submission_id: str) -> bool:
    """Whether a note of the lead is that of this submission: its mark is the last thing said,
    whatever tags stand around it.

    A mark typed into a message never stands last, so nobody can pass off a note as another
    submission's.
    """
    text = html.unescape(re.sub(r"<[^>]*>", " ", note)).rstrip()
    return (
        re.search(rf"(?:^|\s)Leadline \S+:{re.escape(submission_id)}$", text[-1_000:]) is not None
    )


def _details(lead: Lead, *, value_written: bool) -> list[Line]:
    """What Pipedrive has no field for, besides the answers."""
    value = (
        ""
        if value_written or not lead.value
        else f"{as_text(lead.value.amount)} {as_text(lead.value.currency)}".strip()
    )
    return _said(
        Line("Consent", as_text(lead.consent)),
        Line("Job title", as_text(lead.job_title)),
        Line("Website", as_text(lead.website), ADDRESS),
        Line("Country", as_text(lead.country)),
        Line("Value", value),
    )


def _context(lead: Lead) -> list[Line]:
    """Worth reading beside the rest, though no reason for a note: a person found in Pipedrive keeps
    the old phone.
    """
    who = (lead.full_name, lead.email, lead.phone, lead.company)
    return _said(
        Line("Submitted by", ", ".join(part for part in who if part), ADDRESS),
        Line("Form", as_text(lead.form_name or lead.form_id)),
        Line("Time given by the sender", as_text(lead.occurred_at)),
    )


def _attribution(lead: Lead) -> list[Line]:
    clicks = _said(*(Line(name, text) for name, text in lead.click_ids.items()))
    return _said(
        Line("Page", as_text(lead.page_url), ADDRESS),
        Line("Referrer", as_text(lead.referrer), ADDRESS),
        *(Line(f"utm_{part}", as_text(getattr(lead.utm, part))) for part in UTM),
        *_first(clicks, MOST_CLICK_IDS, "click id"),
    )


def _said(*lines: Line) -> list[Line]:
    return [line for line in lines if line.text]


def _first(lines: list[Line], most: int, noun: str) -> list[Line]:
    return (
        lines if len(lines) <= most else [*lines[:most], Line("", _more(len(lines) - most, noun))]
    )


def _more(count: int, noun: str) -> str:
    return (
        f"{count} more {noun} is kept in Leadline"
        if count == 1
        else f"{count} more {noun}s are kept in Leadline"
    )


def _message(message: str | None, room: int) -> str:
    return f"<p>{_bounded(message, room - 100)}</p>" if message else ""


def _answers(lead: Lead, room: int) -> str:
    """As many answers as there is room for, in order, and how many there were beyond."""
    heading, ending = "<p><b>Answers</b></p><ul>", "</ul>"
    lines = _said(*(Line(label, as_text(value), ANSWER) for label, value in lead.answers.items()))
    room -= len(heading) + len(ending) + 100
    items: list[str] = []
    for line in lines:
        item = _item(line)
        if len(item) > room:
            items.append(f"<li>{_more(len(lines) - len(items), 'answer')}</li>")
            break
        items.append(item)
        room -= len(item)
    return heading + "".join(items) + ending if items else ""


def _list(heading: str, lines: Iterable[Line]) -> str:
    items = "".join(map(_item, lines))
    return f"<p><b>{heading}</b></p><ul>{items}</ul>" if items else ""


def _item(line: Line) -> str:
    label = f"{_bounded(line.label, LABEL)}: " if line.label else ""
    return f"<li>{label}{_bounded(line.text, line.limit)}</li>"


def _bounded(text: str, room: int) -> str:
    """The text, escaped, in about `room` characters; a cut falls between two characters of the text
    and is said.
    """
    escaped = _escape(text[: max(room, 0)])
    if len(text) <= room and len(escaped) <= room:
        return escaped
    kept, used = 0, 0
    for character in text:
        used += len(_escape(character))
        if used > room:
            break
        kept += 1
    return f"{_escape(text[:kept])}… ({_more(len(text) - kept, 'character')})"


def _escape(text: str) -> str:
    return html.escape(text, quote=True).replace("\n", "<br>")
