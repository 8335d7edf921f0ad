"""A source for one captured request: its adapter, unwrapping, map and scheme, as lines to paste."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field, structs

from service.sources.adapters.registry import ADAPTERS
from service.sources.handshake import answer_challenge
from service.sources.normalize import normalize, normalize_record
from service.sources.payload.event import ParsedEvent
from service.sources.request import InboundRequest, NormalizationResult
from service.sources.schema import ConfigError, Source, SourceSecret
from service.sources.source_file.loader import load_sources
from service.sources.source_file.toml_reader import FaultCollector, LineIndex
from service.sources.source_file.validation import check_path
from service.sources.wizard.captured import capture
from service.sources.wizard.detect_handshake import detect_handshake
from service.sources.wizard.detect_product import detect_product
from service.sources.wizard.detect_verification import detect_verification
from service.sources.wizard.draft import ProposalDraft, build_lines, in_body
from service.sources.wizard.infer_unwrap import Unwrapping, infer_unwrap
from service.sources.wizard.suggest_left_out import suggest_dedupe_ignore, suggest_ignore
from service.sources.wizard.suggest_map import (
    MapSuggestion,
    UnmappedQuestion,
    find_unmapped,
    read_events,
    suggest_map,
)
from worker.contract import Lead

# Names for sources that are not named after their product.
NAMES = {"form": "contact", "json": "partner"}
# A secret that every scheme accepts, for loading what is proposed.
PLACEHOLDER_SECRET = "c2VjcmV0"
# A suggested line may bring up another question; more rounds found nothing further.
MAP_ROUNDS = 3


class Proposal(Struct, frozen=True, kw_only=True):
    """A source for a captured request: `toml` loads as it stands.

    `why` says how the product was recognised, `warnings` what to check. `reading` is what the
    captured request becomes under it, None if it has no body. `unmapped` are the questions that end
    up among the answers, `guessed` lines of `map` that their values suggest, `secrets` the
    environment variables that the source needs.
    """

    name: str
    adapter: str
    toml: str
    why: str
    reading: NormalizationResult | None
    warnings: list[str] = field(default_factory=list)
    unmapped: list[UnmappedQuestion] = field(default_factory=list)
    guessed: list[MapSuggestion] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    @property
    def lead(self) -> Lead | None:
        """The lead of the first event that has one."""
        events = self.reading.events if self.reading else []
        return next((event.lead for event in events if event.lead), None)


def propose(
    request: InboundRequest,
    *,
    name: str | None = None,
    now: float,
    secrets: Sequence[SourceSecret] = (),
    mapped: Mapping[str, str | dict[str, str]] | None = None,
    only: dict[str, Any] | None = None,
) -> Proposal:
    """The source that reads a captured request.

    `now` is in Unix seconds. `secrets` are tried on the request's signature. `mapped` (path ->
    field, or `MapSuggestion.line`) and `only` are what a person decided. Raises ValueError if
    nothing that loads can be proposed, which only a wrong `name`, `mapped` or `only` can cause.
    """
    captured = capture(request)
    product = detect_product(captured)
    handshake = None if product else detect_handshake(captured)
    is_form = captured.is_form and handshake is None
    adapter = product.adapter if product else ADAPTERS["form" if is_form else "json"]
    scheme = detect_verification(captured, secrets)
    unwrapping = Unwrapping()
    if captured.tree is not None and adapter.reads_any_payload and not handshake:
        unwrapping = infer_unwrap(captured, adapter.name, in_body(scheme))
        if any(event.event_id for event in read_events(adapter, request, _bare(adapter.name))):
            unwrapping = unwrapping.without("event_id")
    draft = ProposalDraft(
        captured=captured,
        name=name or NAMES.get(adapter.name, adapter.name),
        product=product,
        adapter=adapter,
        unwrapping=unwrapping,
        scheme=scheme,
        handshake=handshake,
        only=only,
    )
    _suggest_left_out(draft)
    _suggest_map(draft, mapped or {})
    _suggest_settings(draft, now)
    return _propose_loadable(draft, now)


def _bare(adapter_name: str) -> Source:
    """A source without settings, with which an adapter shows what it finds by itself."""
    return Source(name="proposal", adapter=adapter_name)


def _first_lead(draft: ProposalDraft, source: Source) -> tuple[ParsedEvent, Lead] | None:
    """The first event that has a lead, and its lead; None for a record or a challenge."""
    is_record = draft.product is not None and draft.product.is_record
    if draft.captured.tree is None or draft.handshake or is_record:
        return None
    parsed_events = read_events(draft.adapter, draft.captured.request, source)
    events = normalize(source, draft.captured.request, 0.0).events
    pairs = zip(parsed_events, events, strict=False)
    return next(((parsed, event.lead) for parsed, event in pairs if event.lead), None)


def _suggest_left_out(draft: ProposalDraft) -> None:
    """Finds other people's objects, by reading the request without each of them."""

    def read(ignore: list[str]) -> Lead | None:
        pair = _first_lead(draft, structs.replace(draft.source, ignore=ignore))
        return pair[1] if pair else None

    if draft.adapter.reads_any_payload and (pair := _first_lead(draft, draft.source)):
        certain, doubtful = suggest_ignore(*pair, read)
        draft.ignore, draft.doubtful = list(filter(_is_path, certain)), doubtful


def _suggest_settings(draft: ProposalDraft, now: float) -> None:
    """Says what the lead of all lines so far still lacks."""
    if pair := _first_lead(draft, draft.source):
        lead = pair[1]
        draft.dedupe_ignore = suggest_dedupe_ignore(lead, now)
        draft.lacks_country = bool(
            lead.phone and not lead.phone.startswith("+") and not lead.country
        )


def _suggest_map(draft: ProposalDraft, mapped: Mapping[str, str | dict[str, str]]) -> None:
    """Adds lines of `map`, in rounds: a line may bring up another question."""
    draft.map = [_decided(path, line) for path, line in mapped.items()]
    for _ in range(MAP_ROUNDS):
        pair = _first_lead(draft, draft.source)
        if pair is None or pair[0].outcome is not None:
            return
        mapped_paths = {line.path for line in draft.map}
        suggested = [
            line
            for line in suggest_map(*pair)
            if line.path not in mapped_paths and _is_path(line.path)
        ]
        unmapped = find_unmapped(*pair)
        draft.unmapped = [each for each in unmapped if each.path not in mapped_paths]
        if not suggested:
            return
        draft.map += suggested


def _decided(path: str, line: str | dict[str, str]) -> MapSuggestion:
    if isinstance(line, str):
        return MapSuggestion(path, line, "")
    change = {key: text for key, text in line.items() if key != "to"}
    return MapSuggestion(path, line["to"], "", change)


def _is_path(text: str) -> bool:
    faults = FaultCollector("proposal", LineIndex(""))
    check_path(text, (), faults)
    return not faults and text.isprintable()


def _propose_loadable(draft: ProposalDraft, now: float) -> Proposal:
    """The draft; if it does not load, without suggestions, and then without the unwrapping too."""
    decided = structs.replace(
        draft,
        map=[line for line in draft.map if not line.why],
        handshake=None,
        ignore=[],
        dedupe_ignore=[],
    )
    attempts = (draft, decided, structs.replace(decided, unwrapping=Unwrapping()))
    faults: list[str] = []
    for attempt in attempts:
        lines, secrets = build_lines(attempt)
        text = "\n".join(lines) + "\n"
        env = dict.fromkeys(secrets, PLACEHOLDER_SECRET)
        try:
            sources = load_sources(text, env, secrets=("verify", "fetch")).sources
        except ConfigError as error:
            faults = list(map(str, error.faults))
            continue
        return _build_proposal(attempt, text, sources[attempt.name], secrets, now)
    raise ValueError("; ".join(faults))


def _build_proposal(
    draft: ProposalDraft, text: str, source: Source, secrets: list[str], now: float
) -> Proposal:
    return Proposal(
        name=draft.name,
        adapter=draft.adapter.name,
        toml=text,
        why=(
            draft.product.reason
            if draft.product
            else "no known product: read by the names of its fields"
        ),
        reading=_read(draft, source, now),
        warnings=list(_find_warnings(draft)),
        unmapped=draft.unmapped,
        guessed=[line for line in draft.map if line.why],
        secrets=secrets,
    )


def _read(draft: ProposalDraft, source: Source, now: float) -> NormalizationResult | None:
    request = draft.captured.request
    if answer := answer_challenge(source, request, None):
        return answer
    if draft.product and draft.product.is_record:
        return normalize_record(source, request.body, now)
    return normalize(source, request, now) if request.body.strip() else None


def _find_warnings(draft: ProposalDraft) -> Iterator[str]:
    if draft.captured.fault:
        yield f"the body cannot be read: {draft.captured.fault}"
    if not draft.scheme.is_certain:
        yield "what is signed was guessed; with --secret-env it is found by trying"
    if draft.scheme.unread_header and not draft.adapter.has_scheme:
        yield (
            f"{draft.scheme.unread_header} looks like a signature, and is neither SHA-256 nor"
            " SHA-1 in hex or base64: it is not checked"
        )
    if draft.product and draft.product.is_record:
        yield (
            "this is a record of the product's API, not a request: see it with `leadline preview"
            " --api-response`"
        )
