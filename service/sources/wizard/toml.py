"""The lines of a proposal, table by table, each key with its reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, convert, field

from service.sources.adapters.registry import ADAPTERS
from service.sources.schema import ReadSettings, Source, VerifySettings
from service.sources.wizard.captured import Captured
from service.sources.wizard.detect_product import Tell
from service.sources.wizard.detect_verification import DEFAULT_QUERY, Door
from service.sources.wizard.infer_unwrap import Shape
from service.sources.wizard.suggest_map import MapSuggestion, UnmappedQuestion

# TOML as people write it: a table's keys one a line, each with its reason behind it.

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LINE_END = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
WIDTH = 50
"""Where the comments begin, for lines shorter than that."""


def table(
    path: Sequence[str], keys: Mapping[str, Any], why: Mapping[str, str] | None = None
) -> list[str]:
    """`[a.b]` with its keys; `why` holds a comment for each key that needs one, and for the table
    under the empty key.
    """
    said = why or {}
    head = f"[{'.'.join(map(key, path))}]"
    lines = [commented(head, said.get("", ""))]
    lines += [
        commented(f"{key(name)} = {value(what)}", said.get(name, "")) for name, what in keys.items()
    ]
    return lines


def commented(line: str, why: str) -> str:
    return f"{line:<{WIDTH}}{'' if len(line) < WIDTH else ' '}# {comment(why)}" if why else line


def comment(text: str) -> str:
    """Text as it may stand in a comment: on one line."""
    return _LINE_END.sub(" ", text.encode("utf-8", "replace").decode())


def key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def value(what: Any) -> str:
    """A text, number, truth value, list or inline table."""
    if isinstance(what, Mapping):
        return (
            "{ " + ", ".join(f"{key(name)} = {value(inner)}" for name, inner in what.items()) + " }"
        )
    if isinstance(what, bool):
        return "true" if what else "false"
    if isinstance(what, str):
        return _text(what)
    if isinstance(what, Iterable):
        return _list(list(what))
    return str(what)


def _list(items: list[Any]) -> str:
    if any(isinstance(item, Mapping) for item in items):
        return "[\n" + "".join(f"  {value(item)},\n" for item in items) + "]"
    return "[" + ", ".join(map(value, items)) + "]"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


# A proposal in the making.


class ProposalDraft(Struct, kw_only=True):
    """A proposal in the making: the tables of the source with the reasons for their keys."""

    captured: Captured
    name: str
    tell: Tell | None
    adapter: str
    shape: Shape
    door: Door
    map: list[MapSuggestion] = field(default_factory=list)
    only: dict[str, Any] | None = None
    unmapped: list[UnmappedQuestion] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """Of the names of environment variables."""
        return "".join(
            sign if sign.isalnum() and sign.isascii() else "_" for sign in self.name
        ).upper()

    @property
    def read(self) -> dict[str, Any]:
        """The keys of `[sources.X.read]`."""
        return self.shape.read | ({"only": self.only} if self.only else {})

    @property
    def source(self) -> Source:
        """The source as it stands now; what it reads is not checked."""
        mapped = {guess.path: guess.field for guess in self.map}
        verify = in_body(self.door)
        return Source(
            name=self.name,
            adapter=self.adapter,
            read=convert(self.read, ReadSettings),
            map=mapped,
            verify=verify,
        )


def in_body(shown: Door) -> VerifySettings | None:
    """The scheme of a secret in the body, which is no part of what is read."""
    return convert(shown.rules, VerifySettings) if shown.rules and "field" in shown.rules else None


CERTAIN_TRAPS = frozenset(
    {"_gotcha", "bot-field", "honeypot", "_honeypot", "hp", "_hp", "h0neyp0t", "_honey", "gotcha"}
)
"""Names that nobody gives to a field that people see."""
LIKELY_TRAPS = frozenset(
    {"website", "url", "homepage", "fax", "address2", "company_website", "nickname"}
)
FETCH_TOKENS = {
    "meta-lead-ads": "META_PAGE_TOKEN",
    "hubspot": "HUBSPOT_ACCESS_TOKEN",
    "linkedin": "LINKEDIN_ACCESS_TOKEN",
}


def lines(draft: ProposalDraft) -> tuple[list[str], list[str]]:
    """The lines, and the environment variables that they name."""
    told = (
        f"told by {draft.tell.why}"
        if draft.tell
        else "no product's: fields are recognised by their names"
    )
    path = ("sources", draft.name)
    found = [*table(path, {"adapter": draft.adapter}, {"adapter": told}), *_browser(draft)]
    if draft.map:
        why = {guess.path: guess.why for guess in draft.map}
        found += ["", *table((*path, "map"), {guess.path: guess.field for guess in draft.map}, why)]
    found += _open_questions(draft)
    read = draft.read
    if read:
        found += ["", *table((*path, "read"), read, draft.shape.why)]
    if draft.shape.only and not draft.only:
        found += [
            (
                ""
                if not read
                else "# If it sends events of other kinds as well, make leads of these alone:"
            )
        ]
        said = f"only = {value(draft.shape.only)}"
        found += (
            [f"# {said}"] if read else [f"# [{'.'.join(map(key, (*path, 'read')))}]", f"# {said}"]
        )
    checked, secrets = _verify(draft, path)
    fetched, tokens = _fetch(draft, path)
    return [*found, *checked, *fetched], [*secrets, *tokens]


def _browser(draft: ProposalDraft) -> list[str]:
    """Where a browser form may stand, and the traps for robots among its fields."""
    if draft.adapter != "form":
        return []
    lines = []
    if (origin := draft.captured.request.header("origin")) and origin.startswith(
        ("http://", "https://")
    ):
        lines.append(
            commented(f"origins = {value([origin])}", "the page that posted it; add others")
        )
    names = set(draft.captured.top)
    if traps := sorted(names & CERTAIN_TRAPS):
        lines.append(commented(f"honeypot = {value(traps)}", "whoever fills it is a robot"))
    elif likely := sorted(names & LIKELY_TRAPS):
        lines.append(
            f"# honeypot = {value(likely[:1])}  # only if people cannot see it: whoever fills it is"
            " a robot"
        )
    return lines


def _open_questions(draft: ProposalDraft) -> list[str]:
    if not draft.unmapped:
        return []
    lines = ["", "# Kept as answers. What is a field of the lead, name it in `map`:"]
    return lines + [f"#   {comment(key(question.path))}" for question in draft.unmapped]


def _verify(draft: ProposalDraft, path: tuple[str, ...]) -> tuple[list[str], list[str]]:
    adapter = ADAPTERS[draft.adapter]
    shown = draft.door.rules
    challenge = (
        {"challenge_env": f"{draft.prefix}_VERIFY_TOKEN"}
        if draft.adapter == "meta-lead-ads"
        else {}
    )
    variable = f"{draft.prefix}_SECRET"
    if adapter.has_scheme:
        own = _own_door(draft)
        why = (
            {"secret_env": "the secret that the product signs with"} if not own else draft.door.why
        )
        return _check(path, own | {"secret_env": variable} | challenge, why), [
            variable,
            *challenge.values(),
        ]
    if draft.adapter == "form" and draft.door.rules is None:
        return [], []
    if shown is None:
        why = {"": "nothing proves who sent this: put a secret of your own into its URL, ?key=…"}
        return _check(
            path, {"scheme": "token", "query": DEFAULT_QUERY, "secret_env": variable}, why
        ), [variable]
    return _check(path, shown | {"secret_env": variable}, draft.door.why), [variable]


def _own_door(draft: ProposalDraft) -> dict[str, Any]:
    """Another door than the product's own, where the request shows one and the product's header is
    missing.
    """
    adapter, request = ADAPTERS[draft.adapter], draft.captured.request
    rules = adapter.verify
    is_there = (
        adapter.scheme is not None
        or rules.field
        or (rules.header and request.header(rules.header.lower()))
    )
    if is_there or rules.scheme == "standard-webhooks" or draft.door.rules is None:
        return {}
    return draft.door.rules if draft.door.rules["scheme"] == "token" else {}


def _check(path: tuple[str, ...], rules: dict[str, Any], why: dict[str, str]) -> list[str]:
    return ["", *table((*path, "verify"), rules, why)]


def _fetch(draft: ProposalDraft, path: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Events that tell ids alone need the API's token."""
    variable = FETCH_TOKENS.get(draft.adapter)
    if variable is None or ADAPTERS[draft.adapter].record_api is None:
        return [], []
    why = {"": "its events tell ids alone: the worker reads the rest with this token"}
    return ["", *table((*path, "fetch"), {"token_env": variable}, why)], [variable]
