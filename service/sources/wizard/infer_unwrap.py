"""How to unwrap a payload of unknown shape: the keys of `[sources.X.read]`, found by trying.

Each reading is scored by the leads that it gives: whether they can be contacted, and what else is
known of them. So nothing here knows any product, and whatever is proposed has been tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, convert, field, structs

from service.sources.fields.effort import Effort
from service.sources.fields.recognition import match_label, match_path
from service.sources.fields.values import parse_value
from service.sources.languages.vocabulary import asks_for, vocabulary
from service.sources.languages.words import split_words
from service.sources.normalize import normalize
from service.sources.payload.shapes import NAME_KEYS, VALUE_KEYS, flatten_shapes, plain_letters
from service.sources.payload.tree import Path, Tree, UnreadableBody, resolve, text_of, walk_leaves
from service.sources.payload.unwrap import parse_embedded_json, unwrap
from service.sources.schema import ReadSettings, Source, VerifySettings
from service.sources.wizard.captured import Captured, containers, is_text, scalars
from worker.contract import Lead

# Objects and lists that are tried as the root.
MAX_ROOT_CANDIDATES = 40
# JSON inside a text: how deep it is looked for, and how many at each depth.
MAX_NESTED_DOCUMENTS = 3
MAX_DOCUMENTS_PER_LEVEL = 3
MAX_KIND_CHARS = 60
# A reading must score better by more than this to be preferred.
SCORE_TOLERANCE = 0.01
NO_LEAD_SCORE = -100.0
# What a field of the lead scores; any other scores 1.
FIELD_SCORES = {
    "email": 5.0, "phone": 4.0, "name": 4.0, "first_name": 2.0, "last_name": 2.0, "company": 2.0,
}  # fmt: skip
# Fields that say who somebody is -> the one that stands for them.
IDENTITY_FIELDS = {
    "email": "email", "phone": "phone", "name": "name", "first_name": "name", "last_name": "name",
}  # fmt: skip
CONTACT_FIELDS = frozenset({"email", "phone"})
_EVENT_ID_KEYS = (
    "eventid", "submissionid", "entryid", "responseid", "deliveryid", "webhookid", "messageid",
    "notificationid", "leadid", "requestid", "transactionid",
)  # fmt: skip
_ID_KEYS = ("id", "uid", "uuid", "guid")
_NUMBER_KEYS = ("ref", "reference", "number", "token")
# Objects whose id stays the same from one submission to the next.
_LASTING = frozenset(
    (
        "form", "page", "site", "website", "campaign", "account", "user", "owner", "source", "list",
        "project", "workspace", "organization", "organisation", "company", "location", "property",
        "product", "webhook", "channel", "team", "agent", "survey", "event", "contact", "person",
    )
)  # fmt: skip
_TEST_KEYS = ("test", "istest", "sandbox", "testmode", "dryrun", "istestlead", "testlead", "isdemo")
_LIVE_KEYS = ("livemode", "live", "islive", "production", "isproduction")
_KIND_KEYS = (
    "type", "event", "eventtype", "kind", "topic", "trigger", "action", "eventname", "hook",
)  # fmt: skip


class Unwrapping(Struct, frozen=True):
    """`read` are the keys of `[sources.X.read]`, `reasons` those for each key.

    `only` is the kind of the captured event, for a sender of several kinds.
    """

    read: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    only: dict[str, Any] | None = None

    def without(self, key: str) -> Unwrapping:
        return structs.replace(
            self, read={name: value for name, value in self.read.items() if name != key}
        )


def infer_unwrap(
    captured: Captured, adapter: str, verify: VerifySettings | None = None
) -> Unwrapping:
    """The reading of the payload that scores best. Never raises.

    A secret for which `verify` looks in the body is not part of the lead.
    """
    with_pairs = _infer(captured, adapter, verify, names_pairs=True)
    if "pairs" not in with_pairs.read:
        return with_pairs
    plain = _infer(captured, adapter, verify, names_pairs=False)
    leads = (_leads(captured, adapter, one.read, verify) for one in (with_pairs, plain))
    return plain if _says_as_much(*leads) else with_pairs


def _infer(
    captured: Captured, adapter: str, verify: VerifySettings | None, *, names_pairs: bool
) -> Unwrapping:
    """`names_pairs`: with the lists of questions named, rather than found by the reader itself."""
    read: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    top = captured.top
    for path in _find_documents(top, read):
        paths = [*read.get("json_param", []), path]
        reasons["json_param"] = f"{' and '.join(paths)}: JSON inside a text"
        read["json_param"] = paths
    tree = _unwrap(top, read)
    pairs = list(_find_pairs(tree)) if names_pairs else []
    if _has_single_item_lists(tree) or _have_single_item_lists(tree, pairs):
        read["unwrap_lists"] = True
        reasons["unwrap_lists"] = "most values stand alone in lists"
    if pairs:
        read["pairs"] = pairs if len(pairs) > 1 else pairs[0]
        reasons["pairs"] = "questions as objects, each with its name and its value"
    if root := _find_root(captured, adapter, read, verify):
        read["root"], reasons["root"] = root, "the fields are here"
    tree = _unwrap(top, read)
    root_path = tuple(read["root"].split(".")) if "root" in read else ()
    if event_id := _find_event_id(tree, root_path):
        read["event_id"] = event_id
        reasons["event_id"] = (
            "the same id again is the same lead: check that it changes with each submission"
        )
    if test := _find_test_flag(tree):
        read["test"] = test
        reasons["test"] = "what it marks as a test is accepted and makes no lead"
    return Unwrapping(read, reasons, _find_kind(tree, root_path))


def score_reading(
    captured: Captured, adapter: str, read: dict[str, Any], verify: VerifySettings | None
) -> tuple[float, set[str]]:
    """How well a payload reads under some settings (higher is better), and whom its leads name.

    The set holds values of IDENTITY_FIELDS.
    """
    leads = _leads(captured, adapter, read, verify)
    if not leads:
        return NO_LEAD_SCORE, set()
    scores = [_score(lead) for lead in leads]
    several = 1.0 if len(leads) > 1 else 0.0
    identity = {
        kind for name, kind in IDENTITY_FIELDS.items() if any(getattr(lead, name) for lead in leads)
    }
    return max(scores) + sum(scores) / len(leads) + several, identity


def _leads(
    captured: Captured, adapter: str, read: dict[str, Any], verify: VerifySettings | None
) -> list[Lead]:
    source = Source(
        name="proposal", adapter=adapter, read=convert(read, ReadSettings), verify=verify
    )
    return [event.lead for event in normalize(source, captured.request, 0.0).events if event.lead]


def _says_as_much(leads: list[Lead], others: list[Lead]) -> bool:
    """Whether other leads have all that these have, and no more answers."""
    return len(leads) == len(others) and all(
        len(other.answers) <= len(lead.answers)
        and all(
            getattr(other, name) == value
            for name in lead.__struct_fields__
            if name != "answers" and (value := getattr(lead, name)) is not None
        )
        for lead, other in zip(leads, others, strict=True)
    )


def _score(lead: Lead) -> float:
    plain = set(lead.__struct_fields__) - {"utm", "click_ids", "answers", "is_test"}
    fields = sum(FIELD_SCORES.get(name, 1.0) for name in plain if getattr(lead, name) is not None)
    utm = sum(value is not None for value in structs.astuple(lead.utm))
    return fields + utm + len(lead.click_ids)


def _find_documents(top: Tree, read: dict[str, Any]) -> Iterator[str]:
    """Paths of texts that hold JSON; then of those inside them, as `read` grows."""
    for _ in range(MAX_NESTED_DOCUMENTS):
        paths = [
            ".".join(path)
            for path, value in scalars(_unwrap(top, read))
            if is_text(value) and _is_document(value)
        ]
        if not paths:
            return
        yield from paths[:MAX_DOCUMENTS_PER_LEVEL]


def _is_document(value: Tree) -> bool:
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return False
    try:
        return isinstance(tree := parse_embedded_json(value, "text"), dict | list) and bool(tree)
    except UnreadableBody:
        return False


def _unwrap(top: Tree, read: dict[str, Any]) -> Tree:
    try:
        return unwrap(top, convert(read, ReadSettings))
    except UnreadableBody:
        return top


def _has_single_item_lists(tree: Tree) -> bool:
    """Whether half of all values, and two at least, stand alone in lists."""
    values = [value for _, value in walk_leaves(tree) if value not in (None, "", [])]
    alone = sum(isinstance(value, list) and len(value) == 1 for value in values)
    return alone > 1 and 2 * alone >= len(values)


def _have_single_item_lists(tree: Tree, pairs: list[dict[str, str]]) -> bool:
    """Whether questions have lists as values, whether there is one value or several."""
    values = []
    for pair in pairs:
        questions = resolve(tree, pair["at"])
        if questions is None:
            continue
        items = questions[1] if isinstance(questions[1], list) else questions[1].values()
        matches = (resolve(item, pair.get("value", "value")) for item in items)
        values += [match[1] for match in matches if match]
    alone = sum(
        isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict | list)
        for value in values
    )
    return alone > 1 and 3 * alone >= len(values)


def _find_pairs(tree: Tree) -> Iterator[dict[str, str]]:
    """Every list of name/value objects; of a list of events, those of its fullest item."""
    yield from _find_pairs_in(tree)
    for _, container in containers(tree):
        if isinstance(container, list) and not _find_pair_keys(container):
            yield from _find_pairs_in(_fullest(container))


def _find_pairs_in(tree: Tree) -> Iterator[dict[str, str]]:
    taken: list[Path] = []
    for path, container in containers(tree):
        is_inside = any(path[: len(outer)] == outer for outer in taken)
        if is_inside or not (keys := _find_pair_keys(container)):
            continue
        taken.append(path)
        name_key, value_key = keys
        pair = {"at": ".".join(path)}
        if name_key != "name":
            pair["key"] = name_key
        if value_key != "value":
            pair["value"] = value_key
        yield pair


def _find_pair_keys(container: Tree) -> tuple[str, str] | None:
    """The paths of name and value in the objects of a list, or of an object of objects.

    None if they are not names and values, for instance because each object is somebody's contact.
    """
    items = list(container.values()) if isinstance(container, dict) else container
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    if isinstance(container, dict) and len(items) < 2:
        return None
    rows = [_flatten(item) for item in items]
    if any(_is_contact(path, value) for row in rows for path, value in row.items()):
        return None
    name_keys = [
        path
        for path in rows[0]
        if _pair_word(path) in NAME_KEYS and all(is_text(row.get(path)) for row in rows)
    ]
    counts = Counter(path for row in rows for path in row if _pair_word(path) in VALUE_KEYS)
    value_keys = [path for path, count in counts.items() if 2 * count >= len(rows)]
    if not name_keys or not value_keys:
        return None

    def rank_name(path: str) -> tuple[int, int]:
        labels = sum(match_label(row[path]) is not None for row in rows)
        return labels, -NAME_KEYS.index(_pair_word(path) or "")

    def rank_value(path: str) -> tuple[int, int]:
        return -counts[path] // 2, VALUE_KEYS.index(_pair_word(path) or "")

    name_key, value_key = max(name_keys, key=rank_name), min(value_keys, key=rank_value)
    names = {row[name_key] for row in rows}
    return (name_key, value_key) if 2 * len(names) > len(rows) else None


def _flatten(item: Tree) -> dict[str, Any]:
    """Dotted path -> value, but for what is inside lists."""
    return {
        ".".join(path): value
        for path, value in walk_leaves(item)
        if not any(map(str.isdigit, path))
    }


def _pair_word(path: str) -> str | None:
    """The first step of a path that is a word for a name or a value."""
    steps = [plain_letters(step) for step in path.split(".")]
    return next((step for step in steps if step in NAME_KEYS or step in VALUE_KEYS), None)


def _is_contact(path: str, value: Tree) -> bool:
    match = match_path(tuple(path.split(".")))
    is_valid = bool(match in CONTACT_FIELDS and parse_value(match, value, Effort()))
    return is_valid and _pair_word(path) is None


def _fullest(items: Tree) -> dict[str, Tree]:
    """The object of a list with most values."""
    objects = [item for item in items if isinstance(item, dict)]
    return max(objects, key=lambda item: sum(1 for _ in walk_leaves(item)), default={})


def _find_root(
    captured: Captured, adapter: str, read: dict[str, Any], verify: VerifySettings | None
) -> str | None:
    """The object or list that reads best; None if that is the top.

    Of equals it is the innermost one that still holds everything that says who somebody is.
    """
    best, best_identity = score_reading(captured, adapter, read, verify)
    emails = {lead.email for lead in _leads(captured, adapter, read, verify) if lead.email}
    root = None
    for path, container in list(containers(_unwrap(captured.top, read)))[:MAX_ROOT_CANDIDATES]:
        is_list = isinstance(container, list)
        inner = _find_identity(_unwrap(_fullest(container), read) if is_list else container)
        if not inner & CONTACT_FIELDS or not all(map(_can_lead_to_root, path)):
            continue
        leaves = (value for _, value in walk_leaves(container))
        if emails and emails.isdisjoint(parse_value("email", value, Effort()) for value in leaves):
            # It is somebody else's.
            continue
        candidate = ".".join(path)
        score, identity = score_reading(captured, adapter, read | {"root": candidate}, verify)
        is_better = score > best + SCORE_TOLERANCE
        is_equal = score > best - SCORE_TOLERANCE and best_identity <= inner
        if is_better or is_equal:
            best, root, best_identity = score, candidate, identity
    return root


def _can_lead_to_root(step: str) -> bool:
    words = vocabulary()
    others = words.other_person | words.owner | words.relative
    is_somebody_elses = not others.isdisjoint(split_words(step))
    return bool(step) and "." not in step and not is_somebody_elses


def _find_identity(tree: Tree) -> set[str]:
    """The values of IDENTITY_FIELDS that are in a tree."""
    flat = flatten_shapes(tree, lambda _: False, asks_for)
    matches = ((match_path(path), value) for path, value in walk_leaves(flat))
    return {
        IDENTITY_FIELDS[match]
        for match, value in matches
        if match in IDENTITY_FIELDS and parse_value(match, value, Effort())
    }


def _find_event_id(tree: Tree, root: Path) -> str | None:
    """The path of what tells deliveries apart, the outermost of the best kind."""
    ranked = [(_rank_event_id(path, value), path) for path, value in _values_along(tree, root)]
    best = min(((rank, len(path), path) for rank, path in ranked if rank is not None), default=None)
    return ".".join(best[2]) if best else None


def _rank_event_id(path: Path, value: Tree) -> int | None:
    name, text = plain_letters(path[-1]), text_of(value) or ""
    if name in _EVENT_ID_KEYS:
        return 0
    if name in _ID_KEYS:
        is_lasting = len(path) > 1 and plain_letters(path[-2]) in _LASTING
        return None if is_lasting else 1
    return 2 if name in _NUMBER_KEYS and any(map(str.isdigit, text)) else None


def _find_test_flag(tree: Tree) -> dict[str, Any] | None:
    for path, value in scalars(tree):
        name = plain_letters(path[-1])
        is_flag = isinstance(value, bool) or text_of(value) in ("true", "false", "0", "1")
        if is_flag and name in _TEST_KEYS:
            return {"at": ".".join(path)}
        if is_flag and name in _LIVE_KEYS:
            return {"at": ".".join(path), "equals": False}
    return None


def _find_kind(tree: Tree, root: Path) -> dict[str, Any] | None:
    """What the event says it is, as `only`."""
    for path, value in _values_along(tree, root):
        is_short = is_text(value) and len(value) <= MAX_KIND_CHARS
        if is_short and plain_letters(path[-1]) in _KIND_KEYS:
            return {"at": ".".join(path), "equals": [value]}
    return None


def _values_along(tree: Tree, root: Path) -> Iterator[tuple[Path, Tree]]:
    """The texts on the way from the top to the root, and those at the root.

    Of a list they are those of its fullest item, with paths that begin at the item.
    """
    for length in range(len(root) + 1):
        here: Tree = tree
        for key in root[:length]:
            here = here.get(key) if isinstance(here, dict) else None
        prefix = root[:length]
        if isinstance(here, list):
            here, prefix = _fullest(here), ()
        for key, value in here.items() if isinstance(here, dict) else ():
            if isinstance(value, str) and value:
                yield (*prefix, key), value
