"""Attribution in words: what was set, and by which rule, default or field of the payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SET_BY = {
    "payload": "sent with the form",
    "page_url": "in the address of the page",
    "default": "by default",
    "source": "by the source",
}


Line = tuple[str, str, str]
"""Label, value, and what set it."""


def attributed(said: Mapping[str, Any]) -> list[Line]:
    """A `Detail.attribution`, line by line."""
    lines: list[Line] = [("Cannot be told", str(said["error"]), "")] if said.get("error") else []
    if "rule" in said:
        lines.append(("Rule", _rule(said["rule"]), ""))
    for key, label in (("channel", "Channel"), ("channel_id", "Channel id")):
        if found := said.get(key):
            lines.append((label, *_value(found)))
    lines += [("Label", *_value(found)) for found in said.get("labels", [])]
    lines += [(f"utm_{name}", *_value(found)) for name, found in said.get("utm", {}).items()]
    return lines + [(name, *_value(found)) for name, found in said.get("click_ids", {}).items()]


def _rule(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return "none matches: the source's own settings hold"
    wanted = " and ".join(f"{name} is {_either(value)}" for name, value in rule["when"].items())
    return f"rule {rule['index'] + 1}: {wanted}"


def _either(value: str | list[str]) -> str:
    values = [value] if isinstance(value, str) else value
    return " or ".join("anything" if each == "*" else "nothing" if each == "" else f"“{each}”" for each in values)


def _value(found: Mapping[str, Any]) -> tuple[str, str]:
    by = str(found.get("set_by") or "")
    place = found.get("setting") or found.get("template")
    said = SET_BY.get(by, f"by {by}")
    return str(found.get("value") or "none"), f"{said}: {place}" if place else said
