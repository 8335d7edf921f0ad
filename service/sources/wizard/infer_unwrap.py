"""How a payload of nobody in particular is unwrapped: `[sources.X.read]`, found by trying what
reads best.

Each guess is judged by the leads that come of it: whom one can reach, what else is known, how short
the names of the answers are. So nothing here knows any product, and what is proposed was tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, convert, structs

from service.sources.fields import synonyms
from service.sources.fields.matching import match_label, match_path, split_words
from service.sources.fields.values import parse_value
from service.sources.normalize import normalize
from service.sources.payload.tree import Path, Tree, UnreadableBody, resolve, text_of, walk_leaves
from service.sources.payload.unwrap import parse_embedded_json, unwrap
from service.sources.schema import ReadSettings, Source, VerifySettings
from service.sources.wizard.captured import Captured, containers, is_text, scalars
from worker.contract import Lead

CANDIDATES = 40
"""Objects and lists that are tried as the root."""
NESTED_TEXTS = 3
WORTH = {
    "email": 5.0,
    "phone": 4.0,
    "name": 4.0,
    "first_name": 2.0,
    "last_name": 2.0,
    "company": 2.0,
}
"""Of a field that was found; any other is worth 1."""
CONTACT = {
    "email": "email",
    "phone": "phone",
    "name": "name",
    "first_name": "name",
    "last_name": "name",
}
REACHED = frozenset({"email", "phone"})
KEYS = (
    "label",
    "title",
    "question",
    "name",
    "key",
    "field",
    "fieldname",
    "fieldlabel",
    "columnname",
    "q",
    "prompt",
    "ref",
    "id",
)
VALUES = (
    "value",
    "answer",
    "answers",
    "values",
    "response",
    "a",
    "text",
    "stringvalue",
    "content",
    "val",
    "input",
    "data",
)
_EVENT_IDS = (
    "eventid", "submissionid", "entryid", "responseid", "deliveryid", "webhookid", "messageid",
    "notificationid", "leadid",
    "requestid", "transactionid",
)  # fmt: skip
_IDS = ("id", "uid", "uuid", "guid")
_NUMBERS = ("ref", "reference", "number", "token")
_TEST = ("test", "istest", "sandbox", "testmode", "dryrun", "istestlead", "testlead", "isdemo")
_LIVE = ("livemode", "live", "islive", "production", "isproduction")
_KIND = ("type", "event", "eventtype", "kind", "topic", "trigger", "action", "eventname", "hook")
_GUARDS = frozenset(synonyms.GUARDS.split())


class Shape(Struct, frozen=True):
    """`read` are the keys of `[sources.X.read]`, `why` says why by key. `kinds` are values of `at`
    seen beside leads.
    """

    read: dict[str, Any]
    why: dict[str, str]
    only: dict[str, Any] | None = None


def shape(captured: Captured, adapter: str, verify: VerifySettings | None = None) -> Shape:
    """The best reading of the payload; a secret that `verify` looks for in the body is no part of
    it. Never raises.
    """
    read: dict[str, Any] = {}
    why: dict[str, str] = {}
    top = captured.top
    for path in _texts(top, read):
        why["json_param"] = (
            f"{' and '.join([*read.get('json_param', []), path])}: JSON inside a text"
        )
        read["json_param"] = [*read.get("json_param", []), path]
    inside = _unwrapped(top, read)
    pairs = list(_pairs(inside))
    if _is_single(inside) or _are_single(inside, pairs):
        read["unwrap_lists"], why["unwrap_lists"] = True, "most values stand alone in lists"
    if pairs:
        read["pairs"] = pairs if len(pairs) > 1 else pairs[0]
        why["pairs"] = "questions as objects, each with its name and its value"
    root = _root(captured, adapter, read, verify)
    if root:
        read["root"], why["root"] = root, "the fields are here"
    _ids(captured, read, why)
    return Shape(read, why, _kind(_unwrapped(top, read), read.get("root")))


def value_of(
    captured: Captured, adapter: str, read: dict[str, Any], verify: VerifySettings | None
) -> tuple[float, set[str]]:
    """How well a payload reads under some settings, higher is better, and what it then tells of
    whom one can reach.
    """
    source = Source(
        name="proposal", adapter=adapter, read=convert(read, ReadSettings), verify=verify
    )
    leads = [event.lead for event in normalize(source, captured.request, 0.0).events if event.lead]
    if not leads:
        return -100.0, set()
    several = 1.0 if len(leads) > 1 else 0.0
    reached = {said for name, said in CONTACT.items() if any(getattr(lead, name) for lead in leads)}
    return max(map(_worth, leads)) + sum(map(_worth, leads)) / len(leads) + several, reached


def _worth(lead: Lead) -> float:
    plain = [
        name
        for name in lead.__struct_fields__
        if name not in ("utm", "click_ids", "answers", "is_test")
    ]
    known = sum(WORTH.get(name, 1.0) for name in plain if getattr(lead, name) is not None)
    return (
        known + sum(value is not None for value in structs.astuple(lead.utm)) + len(lead.click_ids)
    )


def _texts(top: Tree, read: dict[str, Any]) -> Iterator[str]:
    """Paths of texts that are JSON; then of those inside them."""
    for _ in range(NESTED_TEXTS):
        inside = _unwrapped(top, read)
        found = [
            ".".join(path)
            for path, value in scalars(inside)
            if is_text(value) and _is_document(value)
        ]
        if not found:
            return
        yield from found[:3]


def _is_document(value: Tree) -> bool:
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return False
    try:
        return isinstance(tree := parse_embedded_json(value, "text"), dict | list) and bool(tree)
    except UnreadableBody:
        return False


def _unwrapped(top: Tree, read: dict[str, Any]) -> Tree:
    try:
        return unwrap(top, convert(read, ReadSettings))
    except UnreadableBody:
        return top


def _is_single(tree: Tree) -> bool:
    values = [value for _, value in walk_leaves(tree) if value not in (None, "", [])]
    alone = sum(isinstance(value, list) and len(value) == 1 for value in values)
    return alone > 1 and 2 * alone >= len(values)


def _are_single(tree: Tree, pairs: list[dict[str, str]]) -> bool:
    """Whether the values of questions come as lists, of one value as of several."""
    found = [(resolve(tree, pair["at"]), pair.get("value", "value")) for pair in pairs]
    items = [
        (item, value)
        for at, value in found
        if at
        for item in (at[1] if isinstance(at[1], list) else at[1].values())
    ]
    values = [at[1] for item, value in items if (at := resolve(item, value))]
    alone = sum(
        isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict | list)
        for value in values
    )
    return alone > 1 and 3 * alone >= len(values)


def _pairs(tree: Tree) -> Iterator[dict[str, str]]:
    """Every list of name/value objects; inside a list of events, those of its fullest item."""
    yield from _pairs_in(tree)
    for path, found in containers(tree):
        if isinstance(found, list) and not _pair(found) and (item := _fullest(found)):
            del path
            yield from _pairs_in(item)


def _pairs_in(tree: Tree) -> Iterator[dict[str, str]]:
    taken: list[Path] = []
    for path, found in containers(tree):
        if any(path[: len(known)] == known for known in taken) or not (pair := _pair(found)):
            continue
        taken.append(path)
        key, value = pair
        given = {} if key == "name" else {"key": key}
        yield {"at": ".".join(path)} | given | ({} if value == "value" else {"value": value})


def _pair(found: Tree) -> tuple[str, str] | None:
    """The paths of name and value inside each object of a list, or of an object of objects; None if
    it is no such list.
    """
    items = list(found.values()) if isinstance(found, dict) else found
    if (
        not items
        or not all(isinstance(item, dict) for item in items)
        or (isinstance(found, dict) and len(items) < 2)
    ):
        return None
    told = [
        {
            ".".join(path): value
            for path, value in walk_leaves(item)
            if not any(map(str.isdigit, path))
        }
        for item in items
    ]
    if any(_is_contact(path, value) for one in told for path, value in one.items()):
        return None
    keys = [
        path
        for path in told[0]
        if _word(path) in KEYS and all(is_text(one.get(path)) for one in told)
    ]
    named = dict.fromkeys(path for one in told for path in one if _word(path) in VALUES)
    values = [path for path in named if 2 * sum(path in one for one in told) >= len(told)]
    if not keys or not values:
        return None
    key = max(
        keys,
        key=lambda path: (
            sum(match_label(one[path]) is not None for one in told),
            -KEYS.index(_word(path) or ""),
        ),
    )
    names = {one[key] for one in told}
    value = min(
        values,
        key=lambda path: (-sum(path in one for one in told) // 2, VALUES.index(_word(path) or "")),
    )
    return (key, value) if 2 * len(names) > len(told) else None


def _word(path: str) -> str | None:
    """The first step of a path that is a word for a name or a value."""
    steps = [re.sub(r"[^a-z]", "", step.lower()) for step in path.split(".")]
    return next((step for step in steps if step in KEYS or step in VALUES), None)


def _is_contact(path: str, value: Tree) -> bool:
    guess = match_path(tuple(path.split(".")))
    return (
        bool(guess and guess.field in ("email", "phone") and parse_value(guess.field, value))
        and _word(path) is None
    )


def _fullest(items: Tree) -> dict[str, Tree]:
    found = [item for item in items if isinstance(item, dict)]
    return max(found, key=lambda item: sum(1 for _ in walk_leaves(item)), default={})


def _root(
    captured: Captured, adapter: str, read: dict[str, Any], verify: VerifySettings | None
) -> str | None:
    """The object or list that reads best, of equals the innermost that holds whom one can reach;
    none where that is the top.
    """
    inside = _unwrapped(captured.top, read)
    best, contact = value_of(captured, adapter, read, verify)
    root = None
    for path, found in list(containers(inside))[:CANDIDATES]:
        here = _contact(_unwrapped(_fullest(found), read) if isinstance(found, list) else found)
        if not here & REACHED or not all(
            step and "." not in step and not _GUARDS.intersection(split_words(step))
            for step in path
        ):
            continue
        candidate = ".".join(path)
        value, reached = value_of(captured, adapter, read | {"root": candidate}, verify)
        if value > best + 0.01 or (value > best - 0.01 and contact <= here):
            best, root, contact = value, candidate, reached
    return root


def _contact(tree: Tree) -> set[str]:
    """The fields that say who it is, as far as they are in here."""
    found = ((match_path(at), value) for at, value in walk_leaves(tree))
    return {
        CONTACT[guess.field]
        for guess, value in found
        if guess and guess.field in CONTACT and parse_value(guess.field, value)
    }


def _ids(captured: Captured, read: dict[str, Any], why: dict[str, str]) -> None:
    """What tells deliveries apart, and what tells tests."""
    inside = _unwrapped(captured.top, read)
    root = tuple(read["root"].split(".")) if "root" in read else ()
    around = [(path, value) for path, value in _along(inside, root)]
    found = [(_rank(path, value), path) for path, value in around]
    ranked = sorted((rank, len(path), path) for rank, path in found if rank is not None)
    if ranked:
        read["event_id"] = ".".join(ranked[0][2])
        why["event_id"] = (
            "the same id again is the same lead: look whether it changes with each submission"
        )
    for path, value in scalars(inside):
        name = _plain(path[-1])
        if name in (*_TEST, *_LIVE) and (
            isinstance(value, bool) or text_of(value) in ("true", "false", "0", "1")
        ):
            at = ".".join(path)
            read["test"] = {"at": at} if name in _TEST else {"at": at, "equals": False}
            why["test"] = "what it marks as a test is taken and makes no lead"
            return


def _along(tree: Tree, root: Path) -> Iterator[tuple[Path, Tree]]:
    """The single values on the way from the top to the root, and those at the root; of a list,
    those of its fullest item.
    """
    for length in range(len(root) + 1):
        found: Tree = tree
        for key in root[:length]:
            found = found.get(key) if isinstance(found, dict) else None
        in_list = isinstance(found, list)
        found = _fullest(found) if in_list else found
        for key, value in found.items() if isinstance(found, dict) else ():
            if isinstance(value, str) and value:
                yield ((key,) if in_list else (*root[:length], key)), value


def _rank(path: Path, value: Tree) -> int | None:
    name, text = _plain(path[-1]), text_of(value) or ""
    if name in _EVENT_IDS:
        return 0
    if name in _IDS:
        return 1
    return 2 if name in _NUMBERS and any(map(str.isdigit, text)) else None


def _kind(tree: Tree, root: str | None) -> dict[str, Any] | None:
    """What the event says it is, for who gets several kinds of them."""
    steps = tuple(root.split(".")) if root else ()
    for path, value in _along(tree, steps):
        if _plain(path[-1]) in _KIND and is_text(value) and len(value) <= 60:
            return {"at": ".".join(path), "equals": [value]}
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())
