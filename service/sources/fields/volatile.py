"""Volatile answers: they change with every post, even if the visitor's answers are the same.

A page puts the time, a token or a captcha's answer into hidden fields; a double click on its button
still makes one lead.
"""

from __future__ import annotations

import re
from itertools import pairwise

from worker.units import parse_unix_time

# A token is known by its length, and by how often its characters change between small letters,
# capitals and digits; words and numbers change less often.
MIN_TOKEN_CHARS = 20
MIN_CHANGES = 0.4
MAX_AGE_SECONDS = 30 * 86_400
# Characters of a name that are looked at: nobody hides a token behind a longer one.
MAX_NAME_CHARS = 120
# What the name of a token or of a captcha's answer contains, also in parts (`friendly-challenge`).
_TOKEN_NAMES = (
    "captcha", "turnstile", "friendlychallenge", "csrf", "xsrf", "wpnonce", "antispam", "honeypot",
    "formbuildid",
)  # fmt: skip
# A whole word of it, and the two words of Akismet's fields.
_TOKEN_WORDS = frozenset({"nonce", "token"})
_AKISMET_WORDS = ("js", "bib", "bfs", "hp")
# A name without any of these is none of those above.
_TOKEN_PART = re.compile("captcha|turnstile|challenge|csrf|xsrf|nonce|spam|honeypot|build|token|ak")
_TIME_NAMES = frozenset(
    {
        "ts", "t", "time", "timestamp", "datetime", "date", "epoch", "unixtime", "now", "created",
        "submitted", "sent", "loaded", "started", "start", "rendered", "render", "generated",
        "opened", "open", "load", "init", "begin", "modified", "updated", "zeit", "zeitstempel",
        "datum", "heure", "horodatage", "fecha", "hora", "data", "ora", "tid", "tijd", "czas",
    }
)  # fmt: skip
# Words of fields that no visitor sees. `id` is not among them: it may be that of an order.
_HIDDEN_NAMES = frozenset(
    {
        "hidden", "uid", "uuid", "guid", "hash", "session", "sid", "cid", "rid", "state", "sig",
        "signature", "fingerprint", "instance", "cache", "random", "rand", "seed", "challenge",
        "verification", "nonce",
    }
)  # fmt: skip
_ELAPSED_NAMES = re.compile(
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
_ELAPSED = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?\s?(?:ms|s|sec|seconds)?", re.ASCII)
_RANDOM = re.compile(
    r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_+/=.:~-]{16,4000}", re.ASCII
)
_SECONDS = re.compile(r":[0-9]{2}:(?!00)[0-9]{2}|[.,](?!0+\b)[0-9]")
# A UUID or a digest, which has more letters than the number of a company or an account.
_HEX = re.compile(
    r"(?=[^0-9]*[0-9])(?=(?:[^a-f]*[a-f]){3})(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,128})",
    re.ASCII | re.IGNORECASE,
)


def is_volatile(label: str, value: str | list[str]) -> bool:
    """Whether an answer belongs to the post, such as its time or a token, not to the content."""
    name = label[:MAX_NAME_CHARS].lower()
    if _TOKEN_PART.search(name) and _is_token(_split_name(label)):
        return True
    if not isinstance(value, str):
        return False
    # The value first: hardly any looks like one of these, and a name takes longer to split.
    if _UNIX_TIME.fullmatch(value) or _ISO_TIME.fullmatch(value) or _WRITTEN_TIME.fullmatch(value):
        words = _split_name(label)
        return _is_hidden(label, words) or not _TIME_NAMES.isdisjoint(words)
    if _ELAPSED.fullmatch(value) and _ELAPSED_NAMES.search(" ".join(_split_name(label))):
        return True
    if not _RANDOM.fullmatch(value):
        return False
    words = _split_name(label)
    return "id" in words or _is_hidden(label, words)


def _split_name(label: str) -> list[str]:
    return _WORDS.findall(_CAMEL.sub(" ", label[:MAX_NAME_CHARS]).lower())


def _is_hidden(label: str, words: list[str]) -> bool:
    return label.startswith("_") or not _HIDDEN_NAMES.isdisjoint(words)


def _is_token(words: list[str]) -> bool:
    """Whether the words of a name say that its value is a token or a captcha's answer."""
    joined = "".join(words)
    return (
        any(name in joined for name in _TOKEN_NAMES)
        or joined.endswith("token")
        or not _TOKEN_WORDS.isdisjoint(words)
        or any(
            first == "ak" and second.startswith(_AKISMET_WORDS) for first, second in pairwise(words)
        )
    )


def looks_volatile(value: str, now: float) -> bool:
    """Whether a value, whatever its name, looks like the time of a post, a nonce or a token.

    A time at a full minute may be one that somebody chose. A number is taken for a Unix time only
    if it is close to `now`; otherwise it may be any number of ten digits.
    """
    if _UNIX_TIME.fullmatch(value):
        return abs((parse_unix_time(value) or 0.0) - now) < MAX_AGE_SECONDS
    if _ISO_TIME.fullmatch(value) or _WRITTEN_TIME.fullmatch(value):
        return bool(_SECONDS.search(value))
    if _HEX.fullmatch(value):
        return True
    if not _RANDOM.fullmatch(value) or len(value) < MIN_TOKEN_CHARS or "://" in value:
        return False
    kinds = [(one.isdigit(), one.isupper()) for one in value if one.isalnum()]
    changes = sum(before != after for before, after in pairwise(kinds))
    return changes >= MIN_CHANGES * len(kinds)
