"""A proposal under construction, and its lines in the source file."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct, convert, field

from service.sources.adapters.base import Adapter
from service.sources.schema import MapRule, ReadSettings, Source, VerifySettings
from service.sources.wizard.captured import Captured
from service.sources.wizard.detect_product import DetectedProduct
from service.sources.wizard.detect_verification import DEFAULT_QUERY, DetectedScheme
from service.sources.wizard.infer_unwrap import Unwrapping
from service.sources.wizard.suggest_map import MapSuggestion, UnmappedQuestion
from service.sources.wizard.toml import comment, commented, key, table, value

# Names that nobody gives to a field that people see.
CERTAIN_TRAPS = frozenset(
    {"_gotcha", "bot-field", "honeypot", "_honeypot", "hp", "_hp", "h0neyp0t", "_honey", "gotcha"}
)
LIKELY_TRAPS = frozenset(
    {"website", "url", "homepage", "fax", "address2", "company_website", "nickname"}
)
_NOT_IN_VARIABLES = re.compile(r"[^A-Za-z0-9]")
# Lines of TOML, and the environment variables that they name.
Lines = tuple[list[str], list[str]]


class ProposalDraft(Struct, kw_only=True):
    """What was detected in a captured request, and what a person decided.

    `doubtful` are paths of which a person must say whether to ignore them. `lacks_country`: a phone
    number came without its country.
    """

    captured: Captured
    name: str
    product: DetectedProduct | None
    adapter: Adapter
    unwrapping: Unwrapping
    scheme: DetectedScheme
    handshake: tuple[dict[str, Any], str] | None = None
    ignore: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    dedupe_ignore: list[str] = field(default_factory=list)
    lacks_country: bool = False
    map: list[MapSuggestion] = field(default_factory=list)
    only: dict[str, Any] | None = None
    unmapped: list[UnmappedQuestion] = field(default_factory=list)

    @property
    def path(self) -> tuple[str, str]:
        """The path of the source's table."""
        return ("sources", self.name)

    @property
    def prefix(self) -> str:
        """The beginning of the names of environment variables."""
        return _NOT_IN_VARIABLES.sub("_", self.name).upper()

    @property
    def read(self) -> dict[str, Any]:
        """The keys of `[sources.X.read]`."""
        return self.unwrapping.read | ({"only": self.only} if self.only else {})

    @property
    def source(self) -> Source:
        """The source as the draft stands now, not validated."""
        return Source(
            name=self.name,
            adapter=self.adapter.name,
            read=convert(self.read, ReadSettings),
            ignore=self.ignore,
            map={line.path: convert(line.line, str | MapRule) for line in self.map},
            verify=in_body(self.scheme),
        )


def in_body(scheme: DetectedScheme) -> VerifySettings | None:
    """The scheme if its secret is a field of the body, which is then kept out of the lead."""
    rules = scheme.rules
    return convert(rules, VerifySettings) if rules and "field" in rules else None


def build_lines(draft: ProposalDraft) -> Lines:
    """The tables of the source, each key with the reason for it."""
    reason = (
        f"{draft.adapter.title}, recognised by {draft.product.reason}"
        if draft.product
        else "no known product: fields are recognised by their names"
    )
    lines = table(draft.path, {"adapter": draft.adapter.name}, {"adapter": reason})
    lines += [*_browser_lines(draft), *_left_out_lines(draft)]
    if draft.map:
        reasons = {line.path: line.why for line in draft.map}
        fields = {line.path: line.line for line in draft.map}
        lines += ["", *table((*draft.path, "map"), fields, reasons)]
    lines += _unmapped_lines(draft)
    if draft.read:
        lines += ["", *table((*draft.path, "read"), draft.read, draft.unwrapping.reasons)]
    lines += _only_lines(draft)
    verify_lines, secrets = _verify_lines(draft)
    fetch_lines, tokens = _fetch_lines(draft)
    return [*lines, *verify_lines, *_handshake_lines(draft), *fetch_lines], [*secrets, *tokens]


def _browser_lines(draft: ProposalDraft) -> list[str]:
    """The page from which a browser posted, and the traps for robots among the form's fields."""
    if draft.adapter.name != "form":
        return []
    lines = []
    origin = draft.captured.request.header("origin") or ""
    if origin.startswith(("http://", "https://")):
        reason = "the page that posted it; add others"
        lines.append(commented(f"origins = {value([origin])}", reason))
    names = set(draft.captured.top)
    if traps := sorted(names & CERTAIN_TRAPS):
        lines.append(commented(f"honeypot = {value(traps)}", "whoever fills it in is a robot"))
    elif likely := sorted(names & LIKELY_TRAPS):
        reason = "only if people cannot see it: whoever fills it in is a robot"
        lines.append(f"# honeypot = {value(likely[:1])}  # {reason}")
    return lines


def _left_out_lines(draft: ProposalDraft) -> list[str]:
    """What is not read, what does not tell two posts apart, and which country may be missing."""
    lines = []
    if draft.ignore:
        reason = "somebody else's: the lead would get a part of it"
        lines.append(commented(f"ignore = {value(draft.ignore)}", reason))
    if draft.doubtful:
        reason = "if it is not the lead's: nothing says so of it, nor of what was taken"
        both = value([*draft.ignore, *draft.doubtful])
        lines.append(comment(commented(f"# ignore = {both}", reason)))
    if draft.dedupe_ignore:
        reason = "looks like a time or a token: a second click would be a second lead"
        lines.append(commented(f"dedupe_ignore = {value(draft.dedupe_ignore)}", reason))
    if draft.lacks_country:
        reason = "where phone numbers without + are from: two letters, such as DE"
        lines.append(commented('# default_country = "XX"', reason))
    return lines


def _unmapped_lines(draft: ProposalDraft) -> list[str]:
    if not draft.unmapped:
        return []
    head = "# Kept as answers. If one of them is a field of the lead, name it in `map`:"
    return ["", head, *(f"#   {comment(key(question.path))}" for question in draft.unmapped)]


def _only_lines(draft: ProposalDraft) -> list[str]:
    """The kind of event that was captured, as a suggestion; not if a person decided."""
    if not draft.unwrapping.only or draft.only:
        return []
    line = f"# only = {value(draft.unwrapping.only)}"
    if draft.read:
        return ["# If it sends other kinds of events too, make leads of these alone:", line]
    return ["", f"# [{'.'.join(map(key, (*draft.path, 'read')))}]", line]


def _verify_lines(draft: ProposalDraft) -> Lines:
    adapter, rules = draft.adapter, draft.scheme.rules
    reasons = draft.scheme.reasons
    secret = f"{draft.prefix}_SECRET"
    secrets = [secret]
    if adapter.has_scheme:
        rules = _other_scheme(draft)
        if not rules:
            reasons = {"secret_env": "the secret that the product signs with"}
        if adapter.has_verify_token:
            secrets.append(f"{draft.prefix}_VERIFY_TOKEN")
    elif rules is None:
        if adapter.name == "form":
            return [], []
        rules = {"scheme": "token", "query": DEFAULT_QUERY}
        reasons = {
            "": "nothing proves who sent this: put a secret of your own into its URL, ?key=…"
        }
    keys = rules | dict(zip(("secret_env", "challenge_env"), secrets, strict=False))
    return ["", *table((*draft.path, "verify"), keys, reasons)], secrets


def _other_scheme(draft: ProposalDraft) -> dict[str, Any]:
    """The token in a request that lacks the header with the product's own signature; else {}."""
    header = draft.adapter.verify.header
    rules = draft.scheme.rules or {}
    if header is None or draft.captured.request.header(header.lower()):
        return {}
    return rules if rules.get("scheme") == "token" else {}


def _handshake_lines(draft: ProposalDraft) -> list[str]:
    """The answer to what was captured, if that is a challenge rather than a submission."""
    if draft.handshake is None:
        return []
    keys, reason = draft.handshake
    return ["", *table((*draft.path, "handshake"), keys, {[*keys][-1]: reason})]


def _fetch_lines(draft: ProposalDraft) -> Lines:
    """The token of the API, for a product whose events carry ids only."""
    if draft.adapter.record_api is None:
        return [], []
    token = draft.adapter.record_api.token_env
    reasons = {"": "its events carry ids only: the worker fetches the rest with this token"}
    return ["", *table((*draft.path, "fetch"), {"token_env": token}, reasons)], [token]
