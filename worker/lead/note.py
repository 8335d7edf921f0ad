"""The one note of a submission, as HTML: what was said, and where it came from.

What the sender wrote is escaped and inert.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from worker.contract import Lead
from worker.lead.canonical import PLAIN_FIELDS, FieldKind
from worker.lead.templates import UTM_PARTS, as_text

# For a whole note; Pipedrive has a limit but does not document it.
MAX_NOTE_CHARS = 20_000
# Escaped characters in an answer, a URL, any other value, a label, and a sentence of our own.
MAX_ANSWER_CHARS, MAX_ADDRESS_CHARS, MAX_VALUE_CHARS, MAX_LABEL_CHARS, MAX_SENTENCE_CHARS = (
    2_000,
    1_000,
    250,
    80,
    300,
)
# With these limits, even a hostile sender leaves more than 4,000 characters for the message and the
# answers.
MAX_CLICK_IDS = 12
MAX_SENTENCES = 6


class NoteLine(NamedTuple):
    label: str
    text: str
    limit: int = MAX_VALUE_CHARS


def build_note(
    lead: Lead,
    *,
    source: str,
    submission_id: str,
    left_out: Sequence[str] = (),
    value_written: bool = False,
    always: bool = False,
) -> str | None:
    """Return the note of a submission, at most `MAX_NOTE_CHARS` long.

    Returns None if there is nothing that Pipedrive has no other place for (message, answers,
    details, attribution, `left_out`), unless `always`. `left_out` are plain sentences about values
    that could not be written; `value_written` says that the lead's value was written.
    """
    details, attribution = (
        _detail_lines(lead, value_written=value_written),
        _attribution_lines(lead),
    )
    if not (
        lead.message or any(lead.answers.values()) or details or attribution or left_out or always
    ):
        return None
    tail = "".join(
        (
            _render_list("Details", [*details, *_context_lines(lead)]),
            _render_list("Attribution", attribution),
            _render_list(
                "Not written to Pipedrive",
                _limit_lines(
                    [NoteLine("", text, MAX_SENTENCE_CHARS) for text in left_out],
                    MAX_SENTENCES,
                    "remark",
                ),
            ),
            f"<p>{html.escape(note_marker(source, submission_id))}</p>",
        )
    )
    room = MAX_NOTE_CHARS - len(tail)
    message = _render_message(lead.message, room // 2 if lead.answers else room)
    return message + _render_answers(lead, room - len(message)) + tail


def note_marker(source: str, submission_id: str) -> str:
    """Return the last line of a note, by which we recognise it."""
    return f"Leadline {source}:{submission_id}"


def has_marker_of(note: str, submission_id: str) -> bool:
    """Return whether a note is that of this submission.

    The marker is the last text in it, whatever tags surround it. A marker typed into a message is
    never last, so nobody can pass off a note as another submission's.
    """
    text = html.unescape(re.sub(r"<[^>]*>", " ", note)).rstrip()
    return (
        re.search(rf"(?:^|\s)Leadline \S+:{re.escape(submission_id)}$", text[-1_000:]) is not None
    )


def _detail_lines(lead: Lead, *, value_written: bool) -> list[NoteLine]:
    """Return the values that Pipedrive has no field for, except the answers."""
    value = (
        ""
        if value_written or not lead.value
        else f"{as_text(lead.value.amount)} {as_text(lead.value.currency)}".strip()
    )
    return _non_empty(
        NoteLine("Consent", as_text(lead.consent)),
        *(
            NoteLine(
                field.label,
                as_text(getattr(lead, field.name)),
                MAX_ADDRESS_CHARS if field.kind is FieldKind.WEBSITE else MAX_VALUE_CHARS,
            )
            for field in PLAIN_FIELDS
            if field.in_note
        ),
        NoteLine("Value", value),
    )


def _context_lines(lead: Lead) -> list[NoteLine]:
    """Return lines worth reading in a note, though no reason to write one.

    For instance, a person found in Pipedrive keeps the old phone number there.
    """
    contact = (lead.full_name, lead.email, lead.phone, lead.company)
    return _non_empty(
        NoteLine("Submitted by", ", ".join(part for part in contact if part), MAX_ADDRESS_CHARS),
        NoteLine("Form", as_text(lead.form_name or lead.form_id)),
        NoteLine("Time given by the sender", as_text(lead.occurred_at)),
    )


def _attribution_lines(lead: Lead) -> list[NoteLine]:
    clicks = _non_empty(*(NoteLine(name, text) for name, text in lead.click_ids.items()))
    return _non_empty(
        NoteLine("Page", as_text(lead.page_url), MAX_ADDRESS_CHARS),
        NoteLine("Referrer", as_text(lead.referrer), MAX_ADDRESS_CHARS),
        *(NoteLine(f"utm_{part}", as_text(getattr(lead.utm, part))) for part in UTM_PARTS),
        *_limit_lines(clicks, MAX_CLICK_IDS, "click id"),
    )


def _non_empty(*lines: NoteLine) -> list[NoteLine]:
    return [line for line in lines if line.text]


def _limit_lines(lines: list[NoteLine], max_lines: int, noun: str) -> list[NoteLine]:
    return (
        lines
        if len(lines) <= max_lines
        else [*lines[:max_lines], NoteLine("", _more_sentence(len(lines) - max_lines, noun))]
    )


def _more_sentence(count: int, noun: str) -> str:
    return (
        f"{count} more {noun} is kept in Leadline"
        if count == 1
        else f"{count} more {noun}s are kept in Leadline"
    )


def _render_message(message: str | None, room: int) -> str:
    return f"<p>{_escape_within(message, room - 100)}</p>" if message else ""


def _render_answers(lead: Lead, room: int) -> str:
    """Render as many answers as fit, in order, and the number of those left out."""
    heading, ending = "<p><b>Answers</b></p><ul>", "</ul>"
    lines = _non_empty(
        *(
            NoteLine(label, as_text(value), MAX_ANSWER_CHARS)
            for label, value in lead.answers.items()
        )
    )
    room -= len(heading) + len(ending) + 100
    items: list[str] = []
    for line in lines:
        item = _render_line(line)
        if len(item) > room:
            items.append(f"<li>{_more_sentence(len(lines) - len(items), 'answer')}</li>")
            break
        items.append(item)
        room -= len(item)
    return heading + "".join(items) + ending if items else ""


def _render_list(heading: str, lines: Iterable[NoteLine]) -> str:
    items = "".join(map(_render_line, lines))
    return f"<p><b>{heading}</b></p><ul>{items}</ul>" if items else ""


def _render_line(line: NoteLine) -> str:
    label = f"{_escape_within(line.label, MAX_LABEL_CHARS)}: " if line.label else ""
    return f"<li>{label}{_escape_within(line.text, line.limit)}</li>"


def _escape_within(text: str, room: int) -> str:
    """Escape the text within about `room` characters; if it is cut, the result says so.

    The cut is between two characters of the original.
    """
    escaped = _escape(text[: max(room, 0)])
    if len(text) <= room and len(escaped) <= room:
        return escaped
    count, used = 0, 0
    for character in text:
        used += len(_escape(character))
        if used > room:
            break
        count += 1
    return f"{_escape(text[:count])}… ({_more_sentence(len(text) - count, 'character')})"


def _escape(text: str) -> str:
    return html.escape(text, quote=True).replace("\n", "<br>")
