"""What the tabs beside a lead show: the request's body as text, its attribution, and its edits."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from service.ops.console.lead_form import FormInput, build_inputs

# -- the body that was received. It is shown as text or hex, never as anything a browser would run.

# Bytes shown; an export has all of them.
MAX_BODY_BYTES = 64 * 1024

HEX_ROW_BYTES = 16
MAX_CHARACTER_BYTES = 4


class BodyText(Struct, frozen=True):
    """`kind` is `text`, `json` (formatted) or `hex`. `cut` is the number of bytes not shown."""

    kind: str
    text: str
    size: int
    cut: int


def format_body(body_base64: str, content_type: str) -> BodyText:
    body = base64.b64decode(body_base64)
    part, cut = body[:MAX_BODY_BYTES], max(0, len(body) - MAX_BODY_BYTES)
    if not cut and "json" in content_type and (formatted := _format_json(body)) is not None:
        return BodyText("json", formatted, len(body), 0)
    text = _decode_text(part, cut)
    if text is not None:
        return BodyText("text", text, len(body), cut)
    return BodyText("hex", _hex_dump(part), len(body), cut)


def _hex_dump(body: bytes) -> str:
    """`00000000  50 4b 03 04 …  |PK..|`, sixteen bytes a line."""
    rows = []
    for offset in range(0, len(body), HEX_ROW_BYTES):
        part = body[offset : offset + HEX_ROW_BYTES]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{offset:08x}  {part.hex(' '):<{HEX_ROW_BYTES * 3 - 1}}  |{letters}|")
    return "\n".join(rows)


def _format_json(body: bytes) -> str | None:
    """Indented, with every token as received; None if it is not JSON."""
    try:
        msgspec.json.decode(body)
        return msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decode_text(part: bytes, cut: int) -> str | None:
    """None for anything but UTF-8 without control characters."""
    # A cut may have split the last character.
    for tail in range(MAX_CHARACTER_BYTES if cut else 1):
        try:
            text = part[: len(part) - tail].decode()
        except UnicodeDecodeError:
            continue
        return None if any(ord(letter) < 32 and letter not in "\t\n\r" for letter in text) else text
    return None


# -- attribution: which rule, default or field of the payload set a value

SET_BY = {
    "payload": "from the payload",
    "page_url": "from the page URL",
    "default": "default",
    "source": "set by the source",
}


class AttributionLine(Struct, frozen=True):
    label: str
    value: str
    set_by: str = ""


def attribution_lines(attribution: Mapping[str, Any]) -> list[AttributionLine]:
    """A `Detail.attribution`, line by line."""
    lines = []
    if error := attribution.get("error"):
        lines.append(AttributionLine("Unknown", str(error)))
    if "rule" in attribution:
        lines.append(AttributionLine("Rule", _describe_rule(attribution["rule"])))
    for key, label in (("channel", "Channel"), ("channel_id", "Channel id")):
        if entry := attribution.get(key):
            lines.append(_line(label, entry))
    lines += [_line("Label", entry) for entry in attribution.get("labels", [])]
    lines += [_line(f"utm_{name}", entry) for name, entry in attribution.get("utm", {}).items()]
    return lines + [_line(name, entry) for name, entry in attribution.get("click_ids", {}).items()]


def _describe_rule(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return "No rule matches; the source's own settings apply."
    conditions = [f"{name} is {_describe_values(value)}" for name, value in rule["when"].items()]
    return f"rule {rule['index'] + 1}: {' and '.join(conditions)}"


def _describe_values(values: str | list[str]) -> str:
    values = [values] if isinstance(values, str) else values
    words = {"*": "set", "": "empty"}
    return " or ".join(words.get(value, f"“{value}”") for value in values)


def _line(label: str, entry: Mapping[str, Any]) -> AttributionLine:
    set_by = str(entry.get("set_by") or "")
    text = SET_BY.get(set_by, f"set by {set_by}")
    place = entry.get("setting") or entry.get("template")
    value = str(entry.get("value") or "none")
    return AttributionLine(label, value, f"{text}: {place}" if place else text)


# -- what was edited since it was received


class FieldChange(Struct, frozen=True):
    """One field; an empty text where the lead did not have it."""

    label: str
    before: str
    after: str


def list_changes(
    received: Mapping[str, Any] | None, lead: Mapping[str, Any] | None
) -> list[FieldChange]:
    """The fields that differ, in the form's order."""
    if received is None or lead is None:
        return []
    old, new = ({each.name: each for each in build_inputs(either)} for either in (received, lead))
    changes = []
    for name, input in (old | new).items():
        before, after = _value(old.get(name)), _value(new.get(name))
        if before != after:
            changes.append(FieldChange(input.label, before, after))
    return changes


def _value(input: FormInput | None) -> str:
    return input.value if input else ""
