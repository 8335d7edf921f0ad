"""Whether two posts say the same: a digest of a lead without what differs from post to post.

A page writes the time, a token or a captcha's answer into hidden fields; a double click on its
button is one lead all the same.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from service.sources.fields.lead_builder import canonical_name
from service.sources.fields.text import clean_label
from service.sources.schema import MapRule, Source
from worker.contract import Lead
from worker.store.keys import digest

_CAPTCHA_OR_TOKEN = re.compile(
    r"captcha|turnstile|friendly.?challenge|csrf|xsrf|\bnonce\b|wpnonce|antispam|anti.?spam"
    r"|\btoken\b|token$|honeypot|form.?build.?id|\bak (?:js|bib|bfs|hp)",
    re.IGNORECASE,
)
_TIME_NAMES = frozenset(
    {
        "ts", "t", "time", "timestamp", "datetime", "date", "epoch", "unixtime", "now", "created",
        "submitted", "sent", "loaded", "started", "start", "rendered", "render", "generated",
        "opened", "open", "load", "init", "begin", "modified", "updated", "zeit", "zeitstempel",
        "datum", "heure", "horodatage", "fecha", "hora", "data", "ora", "tid", "tijd", "czas",
    }
)  # fmt: skip
# Words of names that nobody would read as a question; an `id` may be that of somebody's order.
_HIDDEN_NAMES = frozenset(
    {
        "hidden", "uid", "uuid", "guid", "hash", "session", "sid", "cid", "rid", "state", "sig",
        "signature", "fingerprint", "instance", "cache", "random", "rand", "seed", "challenge",
        "verification", "nonce",
    }
)  # fmt: skip
_SPENT_NAMES = re.compile(
    r"elapsed|time (?:on|spent|to|taken)|(?:fill|dwell|submit) time|seconds on"
)
_WORDS = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# From 2001 to 2096, in seconds (with a fraction) to nanoseconds.
_UNIX_TIME = re.compile(r"[1-3][0-9]{9}(?:\.[0-9]{1,9}|(?:[0-9]{3}){1,3})?", re.ASCII)
_ISO_TIME = re.compile(
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}:?[0-9]{2}:?[0-9]{2}(?:[.,][0-9]{1,9})?"
    r" ?(?:Z|[+-][0-9]{2}:?[0-9]{0,2}|UTC|GMT)?",
    re.ASCII | re.IGNORECASE,
)
# As JavaScript and mail headers write it: `Tue Mar 05 2024 10:00:00 GMT+0100 (CET)`.
_WRITTEN_TIME = re.compile(
    r"[A-Z][a-z]{2},? (?:[A-Z][a-z]{2} [0-9]{2}|[0-9]{1,2} [A-Z][a-z]{2}) [0-9]{4}"
    r" [0-9]{2}:[0-9]{2}:[0-9]{2}.{0,60}"
)
_SPENT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?\s?(?:ms|s|sec|seconds)?", re.ASCII)
_RANDOM = re.compile(
    r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_+/=.:~-]{16,4000}", re.ASCII
)


def content_digest(source: Source, lead: Lead) -> str:
    """The same for two leads of a source that say the same."""
    values = _flatten(lead)
    if source.dedupe_on:
        chosen = [_find(values, name, source) for name in source.dedupe_on]
        # Two posts without an address are not the same because neither has one.
        if all(chosen):
            return digest("on", *(_encode(sorted(part.items())) for part in chosen))
    ignored = [key for name in source.dedupe_ignore for key in _find(values, name, source)]
    compared = {
        key: value
        for key, value in values.items()
        if key not in ignored and not (key[0] == "answers" and differs_by_post(key[1], value))
    }
    return digest(_encode(sorted(compared.items())))


def differs_by_post(label: str, value: str | list[str]) -> bool:
    """Whether an answer says when or by which page a form was sent, rather than what it says."""
    name = " ".join(_WORDS.findall(_CAMEL.sub(" ", label)))
    if _CAPTCHA_OR_TOKEN.search(name):
        return True
    if not isinstance(value, str):
        return False
    words = set(name.lower().split())
    is_hidden = label.startswith("_") or bool(words & _HIDDEN_NAMES)
    if _UNIX_TIME.fullmatch(value) or _ISO_TIME.fullmatch(value) or _WRITTEN_TIME.fullmatch(value):
        return is_hidden or bool(words & _TIME_NAMES)
    if _SPENT_NAMES.search(name.lower()) and _SPENT.fullmatch(value):
        return True
    return (is_hidden or "id" in words) and bool(_RANDOM.fullmatch(value))


# The values of a lead by group and name, such as `("answers", "Your team")`.
Key = tuple[str, str]


def _flatten(lead: Lead) -> dict[Key, Any]:
    values: dict[Key, Any] = {}
    for name, value in msgspec.to_builtins(lead).items():
        # A product's time of the event is the time of the post.
        if value is None or name == "occurred_at":
            continue
        if isinstance(value, dict):
            values |= {(name, inner): one for inner, one in value.items() if one is not None}
        else:
            values["", name] = value
    return values


def _find(values: dict[Key, Any], name: str, source: Source) -> dict[Key, Any]:
    """The values that a name of `dedupe_on` or `dedupe_ignore` stands for.

    That is a field of the lead, what `map` makes of a path, or an answer with all below it.
    """
    line = source.map.get(name, name)
    target = line.to if isinstance(line, MapRule) else line
    label = clean_label(target.removeprefix("answers."))
    keys = {_lead_key(target), ("answers", label)}
    return {
        key: value
        for key, value in values.items()
        if key in keys or (key[0] == "answers" and key[1].startswith((f"{label}.", f"{label}[")))
    }


def _lead_key(target: str) -> Key:
    """Where a canonical field is in a flat lead: `utm_source` is `source` of `utm`."""
    name = canonical_name(target)
    for group, prefix in (("utm", "utm_"), ("click_ids", "click_ids."), ("value", "value.")):
        if name.startswith(prefix):
            return (group, name.removeprefix(prefix))
    return ("", name)


def _encode(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
