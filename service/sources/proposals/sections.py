"""The lines of a proposal, table by table, each key with its reason."""

from __future__ import annotations

from typing import Any

from service.sources.proposals import toml_text
from service.sources.proposals.doors import DEFAULT_QUERY
from service.sources.proposals.draft import Draft
from service.sources.registry import ADAPTERS

CERTAIN_TRAPS = frozenset({"_gotcha", "bot-field", "honeypot", "_honeypot", "hp", "_hp", "h0neyp0t", "_honey", "gotcha"})
"""Names that nobody gives to a field that people see."""
LIKELY_TRAPS = frozenset({"website", "url", "homepage", "fax", "address2", "company_website", "nickname"})
FETCH_TOKENS = {"meta-lead-ads": "META_PAGE_TOKEN", "hubspot": "HUBSPOT_ACCESS_TOKEN", "linkedin": "LINKEDIN_ACCESS_TOKEN"}


def lines(draft: Draft) -> tuple[list[str], list[str]]:
    """The lines, and the environment variables that they name."""
    told = f"told by {draft.tell.why}" if draft.tell else "no product's: fields are recognised by their names"
    path = ("sources", draft.name)
    found = [*toml_text.table(path, {"adapter": draft.adapter}, {"adapter": told}), *_browser(draft)]
    if draft.map:
        why = {guess.path: guess.why for guess in draft.map}
        found += ["", *toml_text.table((*path, "map"), {guess.path: guess.field for guess in draft.map}, why)]
    found += _open_questions(draft)
    read = draft.read
    if read:
        found += ["", *toml_text.table((*path, "read"), read, draft.shape.why)]
    if draft.shape.only and not draft.only:
        found += ["" if not read else "# If it sends events of other kinds as well, make leads of these alone:"]
        said = f"only = {toml_text.value(draft.shape.only)}"
        found += [f"# {said}"] if read else [f"# [{'.'.join(map(toml_text.key, (*path, 'read')))}]", f"# {said}"]
    checked, secrets = _verify(draft, path)
    fetched, tokens = _fetch(draft, path)
    return [*found, *checked, *fetched], [*secrets, *tokens]


def _browser(draft: Draft) -> list[str]:
    """Where a browser form may stand, and the traps for robots among its fields."""
    if draft.adapter != "form":
        return []
    lines = []
    if (origin := draft.captured.request.header("origin")) and origin.startswith(("http://", "https://")):
        lines.append(toml_text.commented(f"origins = {toml_text.value([origin])}", "the page that posted it; add others"))
    names = set(draft.captured.top)
    if traps := sorted(names & CERTAIN_TRAPS):
        lines.append(toml_text.commented(f"honeypot = {toml_text.value(traps)}", "whoever fills it is a robot"))
    elif likely := sorted(names & LIKELY_TRAPS):
        lines.append(f"# honeypot = {toml_text.value(likely[:1])}  # only if people cannot see it: whoever fills it is a robot")
    return lines


def _open_questions(draft: Draft) -> list[str]:
    if not draft.unmapped:
        return []
    lines = ["", "# Kept as answers. What is a field of the lead, name it in `map`:"]
    return lines + [f"#   {toml_text.comment(toml_text.key(question.path))}" for question in draft.unmapped]


def _verify(draft: Draft, path: tuple[str, ...]) -> tuple[list[str], list[str]]:
    adapter = ADAPTERS[draft.adapter]
    shown = draft.door.rules
    challenge = {"challenge_env": f"{draft.prefix}_VERIFY_TOKEN"} if draft.adapter == "meta-lead-ads" else {}
    variable = f"{draft.prefix}_SECRET"
    if adapter.has_scheme:
        own = _own_door(draft)
        why = {"secret_env": "the secret that the product signs with"} if not own else draft.door.why
        return _check(path, own | {"secret_env": variable} | challenge, why), [variable, *challenge.values()]
    if draft.adapter == "form" and draft.door.rules is None:
        return [], []
    if shown is None:
        why = {"": "nothing proves who sent this: put a secret of your own into its URL, ?key=…"}
        return _check(path, {"scheme": "token", "query": DEFAULT_QUERY, "secret_env": variable}, why), [variable]
    return _check(path, shown | {"secret_env": variable}, draft.door.why), [variable]


def _own_door(draft: Draft) -> dict[str, Any]:
    """Another door than the product's own, where the request shows one and the product's header is missing."""
    adapter, request = ADAPTERS[draft.adapter], draft.captured.request
    rules = adapter.verify
    is_there = adapter.scheme is not None or rules.field or (rules.header and request.header(rules.header.lower()))
    if is_there or rules.scheme == "standard-webhooks" or draft.door.rules is None:
        return {}
    return draft.door.rules if draft.door.rules["scheme"] == "token" else {}


def _check(path: tuple[str, ...], rules: dict[str, Any], why: dict[str, str]) -> list[str]:
    return ["", *toml_text.table((*path, "verify"), rules, why)]


def _fetch(draft: Draft, path: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Events that tell ids alone need the API's token."""
    variable = FETCH_TOKENS.get(draft.adapter)
    if variable is None or ADAPTERS[draft.adapter].records is None:
        return [], []
    why = {"": "its events tell ids alone: the worker reads the rest with this token"}
    return ["", *toml_text.table((*path, "fetch"), {"token_env": variable}, why)], [variable]
