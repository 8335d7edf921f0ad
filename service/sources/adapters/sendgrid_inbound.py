"""`sendgrid-inbound`: e-mails, by way of SendGrid's Inbound Parse.

A multipart form, in which each part of an e-mail keeps the charset that `charsets` names. The
sender is in `from`; `to` and `cc` are the recipient and other people. An automatic reply is known
by the e-mail's `headers`, a bounce by the empty sender of its `envelope`.
https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from msgspec import structs

from service.sources.adapters.base import Adapter, by_body, has_keys
from service.sources.adapters.questions import (
    FormQuestion,
    Table,
    body_reader,
    event_from_questions,
    no_lead,
    object_at,
    text_at,
    value_at,
)
from service.sources.payload.charsets import find_codec
from service.sources.payload.decode import decode_body
from service.sources.payload.event import ParsedEvent
from service.sources.payload.json import parse_json
from service.sources.payload.tree import Tree, UnreadableBody, Upload
from service.sources.request import InboundRequest, Outcome
from service.sources.schema import Source

# SendGrid converts everything else to UTF-8.
TEXTS = ("text", "html")
# Tags of an HTML e-mail that are read, which takes time.
MAX_TAGS = 10_000
MAX_SENDER_CHARS = 1_000
# SpamAssassin's own threshold.
SPAM_SCORE = 5.0
# A seven-bit charset, whose bytes are valid UTF-8 as well.
JAPANESE = "iso-2022-jp"
_SENDER = re.compile(r"(.*)<([^<>]*)>\s*")
_AUTOMATIC = re.compile(r"^auto-submitted:[ \t]*(?!no\b)[a-z]", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(r"^message-id:\s*<([^<>\s]{1,300})>", re.IGNORECASE | re.MULTILINE)
_SCORE = re.compile(r"\s*-?[0-9]{1,6}(?:\.[0-9]{1,6})?\s*", re.ASCII)
_TAG = re.compile(r"(<[^<>]*>)")
_TAG_NAME = re.compile(r"<(/?)([a-z0-9]+)", re.IGNORECASE)
INVISIBLE = frozenset({"style", "script", "head", "title"})
BLOCKS = frozenset({"br", "p", "div", "tr", "li", "h1", "h2", "h3", "h4", "table", "ul", "ol"})


def read(request: InboundRequest, source: Source) -> list[ParsedEvent]:
    return body_reader(lambda top: event(top, request))(request, source)


def event(top: Table, request: InboundRequest) -> ParsedEvent | None:
    if not {"from", "envelope"} <= top.keys():
        return None
    headers = str(top.get("headers") or "")
    message_id = match[1] if (match := _MESSAGE_ID.search(headers)) else None
    if text_at(_parse_object(top, "envelope"), "from") is None:
        return no_lead(top, "a bounce", event_id=message_id)
    if _AUTOMATIC.search(headers):
        return no_lead(top, "an automatic reply", event_id=message_id)
    score = text_at(top, "spam_score") or ""
    is_spam = bool(_SCORE.fullmatch(score)) and float(score) >= SPAM_SCORE
    return event_from_questions(
        top,
        _questions(top | _decode_texts(top, request)),
        at=(),
        event_id=message_id,
        outcome=Outcome.SPAM if is_spam else None,
        reason=f"its SpamAssassin score is {score.strip()}" if is_spam else None,
    )


def _questions(top: Table) -> Iterator[FormQuestion]:
    name, address = _split_sender(str(top.get("from") or ""))
    text = str(top.get("text") or "").strip()
    yield FormQuestion(key="from", value=address, lead_field="email")
    yield FormQuestion(key="name", value=name, lead_field="name")
    yield FormQuestion(key="subject", value=top.get("subject"))
    yield FormQuestion(
        key="text", value=text or _to_text(str(top.get("html") or "")), lead_field="message"
    )
    for key, value in top.items():
        if isinstance(value, Upload):
            yield FormQuestion(key=key, value=value)


def _split_sender(sender: str) -> tuple[str, str]:
    """Name and address of `"Ada Lovelace" <ada@…>`; an address as the name counts as no name."""
    match = _SENDER.fullmatch(sender.strip()[:MAX_SENDER_CHARS])
    if match is None:
        return "", sender
    name = match[1].strip().strip('"').replace('\\"', '"').strip()
    return ("" if "@" in name else name), match[2].strip()


def _decode_texts(top: Table, request: InboundRequest) -> Table:
    """The texts that are not UTF-8, each in its own charset."""
    charsets = _parse_object(top, "charsets")
    texts: Table = {}
    for name in TEXTS:
        label, value = (text_at(charsets, name) or "").lower(), top.get(name)
        if not isinstance(value, str):
            continue
        if label == JAPANESE:
            texts[name] = value.encode().decode("iso2022_jp", "replace")
        elif find_codec(label):
            texts[name] = value_at(_decode_as(request, label), name)
    return texts


def _decode_as(request: InboundRequest, charset: str) -> Tree:
    """The body, decoded again with a charset for the parts that are not UTF-8."""
    headers = [
        (name, f"{value}; charset={charset}" if name == "content-type" else value)
        for name, value in request.headers
    ]
    return decode_body(structs.replace(request, headers=headers))


def _parse_object(top: Table, key: str) -> Table:
    """The JSON object in a field's text; an empty one if there is none."""
    try:
        return object_at(parse_json(str(top.get(key) or "")))
    except UnreadableBody:
        return {}


def _to_text(page: str) -> str:
    """The text that an HTML page shows, with each block on a line of its own."""
    pieces: list[str] = []
    hidden = ""
    for piece in _TAG.split(page, MAX_TAGS)[: 2 * MAX_TAGS]:
        tag = _TAG_NAME.match(piece)
        name = tag[2].lower() if tag else ""
        if hidden:
            hidden = "" if tag and tag[1] and name == hidden else hidden
        elif name in INVISIBLE and tag and not tag[1]:
            hidden = name
        elif name in BLOCKS:
            pieces.append("\n")
        elif not piece.startswith("<"):
            pieces.append(re.sub(r"\s+", " ", piece))
    try:
        text = html.unescape("".join(pieces))
    except ValueError:  # a character reference with thousands of digits
        text = "".join(pieces)
    lines = (line.strip() for line in text.replace("\xa0", " ").splitlines())
    return "\n".join(filter(None, lines))


ADAPTER = Adapter(
    name="sendgrid-inbound",
    title="SendGrid Inbound Parse",
    read=read,
    detectors=(
        by_body(
            has_keys("from", "envelope", "charsets"),
            "from beside envelope and charsets",
            is_posted_form=True,
        ),
    ),
    reply=200,
    names_charsets=True,
)
