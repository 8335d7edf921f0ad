"""A source for one captured request: which adapter, how it is unwrapped, mapped and verified, as
lines to paste.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field, structs

from service.sources.adapters.registry import ADAPTERS
from service.sources.normalize import normalize, normalize_record
from service.sources.request import InboundRequest, NormalizationResult
from service.sources.schema import ConfigError, Source, SourceSecret
from service.sources.source_file.loader import load_sources
from service.sources.source_file.toml_reader import FaultCollector, LineIndex
from service.sources.source_file.validation import check_path
from service.sources.wizard.captured import capture
from service.sources.wizard.detect_product import tell
from service.sources.wizard.detect_verification import door
from service.sources.wizard.infer_unwrap import Shape, shape
from service.sources.wizard.suggest_map import (
    MapSuggestion,
    UnmappedQuestion,
    guesses,
    payloads,
    unmapped,
)
from service.sources.wizard.toml import ProposalDraft, in_body, lines
from worker.contract import Lead

NAMES = {"form": "contact", "json": "partner"}
"""What a source is called that is not called after its product."""
PLACEHOLDER = "c2VjcmV0"
"""A secret of every scheme, for loading what is proposed."""


class Proposal(Struct, frozen=True, kw_only=True):
    """`toml` is right as it stands: it was loaded. `why` says how the product was told, `warnings`
    what a person must look at.

    `reading` is what the captured request becomes under it, None where it has no body to read.
    `unmapped` are the questions that end among the answers, `secrets` the environment variables
    that the source needs. `guessed` are lines of `map` that its values suggest.
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
        """The first event's."""
        return (
            next((event.lead for event in self.reading.events if event.lead), None)
            if self.reading
            else None
        )


def propose(
    request: InboundRequest,
    *,
    name: str | None = None,
    now: float,
    secrets: Sequence[SourceSecret] = (),
    mapped: dict[str, str] | None = None,
    only: dict[str, Any] | None = None,
) -> Proposal:
    """The source that reads a captured request. `now` in Unix seconds; `secrets` are tried on its
    signature.

    `mapped` (path -> field) and `only` are what a person decided. Raises ValueError if nothing that
    loads can be said, which only a wrong `name`, `mapped` or `only` can bring about.
    """
    captured = capture(request)
    told = tell(captured)
    adapter = told.adapter if told else "form" if captured.is_form else "json"
    is_read = captured.tree is not None and (told is None or adapter == "standard-webhooks")
    shown = door(captured, secrets)
    draft = ProposalDraft(
        captured=captured,
        name=name or NAMES.get(adapter, adapter),
        tell=told,
        adapter=adapter,
        shape=(
            _fitting(shape(captured, adapter, in_body(shown)), adapter)
            if is_read
            else Shape({}, {})
        ),
        door=shown,
        only=only,
    )
    _ask(draft, mapped or {})
    return _written(draft, now)


def _fitting(found: Shape, adapter: str) -> Shape:
    """The adapter's own ways are not repeated: Standard Webhooks has its id in a header."""
    if adapter != "standard-webhooks":
        return found
    return Shape(
        {key: value for key, value in found.read.items() if key != "event_id"},
        found.why,
        found.only,
    )


def _ask(draft: ProposalDraft, mapped: dict[str, str]) -> None:
    """Guess what the reading leaves open, as often as a guess opens another question."""
    draft.map = [MapSuggestion(path, target, "") for path, target in mapped.items()]
    if draft.captured.tree is None or (draft.tell and draft.tell.is_record):
        return
    for _ in range(3):
        source = draft.source
        found = payloads(ADAPTERS[draft.adapter], draft.captured.request, source)
        events = normalize(source, draft.captured.request, 0.0).events
        pair = next(
            ((one, event.lead) for one, event in zip(found, events, strict=False) if event.lead),
            None,
        )
        if pair is None or pair[0].outcome is not None:
            return
        known = {guess.path for guess in draft.map}
        new = [
            guess for guess in guesses(*pair) if guess.path not in known and _is_path(guess.path)
        ]
        draft.unmapped = [one for one in unmapped(*pair) if one.path not in known]
        if not new:
            return
        draft.map += new


def _is_path(written: str) -> bool:
    faults = FaultCollector("proposal", LineIndex(""))
    check_path(written, (), faults)
    return not faults and written.isprintable()


def _written(draft: ProposalDraft, now: float) -> Proposal:
    """With everything that was found; without the guesses, then without the unwrapping, if the
    loader takes exception to them.
    """
    fallbacks = (draft, _without(draft, keep_shape=True), _without(draft, keep_shape=False))
    for number, attempt in enumerate(fallbacks):
        written, secrets = lines(attempt)
        text = "\n".join(written) + "\n"
        try:
            source = load_sources(
                text, dict.fromkeys(secrets, PLACEHOLDER), secrets=("verify", "fetch")
            ).sources[attempt.name]
        except ConfigError as error:
            if number == len(fallbacks) - 1:
                raise ValueError("; ".join(map(str, error.faults))) from None
            continue
        return _proposal(attempt, text, source, secrets, now)
    raise AssertionError("the last attempt returns or raises")


def _without(draft: ProposalDraft, *, keep_shape: bool) -> ProposalDraft:
    """Without what was guessed, and without the unwrapping."""
    decided = [guess for guess in draft.map if not guess.why]
    return structs.replace(draft, map=decided, shape=draft.shape if keep_shape else Shape({}, {}))


def _proposal(
    draft: ProposalDraft, text: str, source: Source, secrets: list[str], now: float
) -> Proposal:
    return Proposal(
        name=draft.name,
        adapter=draft.adapter,
        toml=text,
        why=draft.tell.why if draft.tell else "no product's: read by the names of its fields",
        reading=_read(draft, source, now),
        warnings=list(_warnings(draft)),
        unmapped=draft.unmapped,
        guessed=[guess for guess in draft.map if guess.why],
        secrets=secrets,
    )


def _read(draft: ProposalDraft, source: Source, now: float) -> NormalizationResult | None:
    request = draft.captured.request
    if draft.tell and draft.tell.is_record:
        return normalize_record(source, request.body, now)
    return normalize(source, request, now) if request.body.strip() else None


def _warnings(draft: ProposalDraft) -> list[str]:
    found = []
    if draft.captured.fault:
        found.append(f"the body cannot be read: {draft.captured.fault}")
    if not draft.door.is_certain:
        found.append("what is signed was guessed; with --secret-env it is found by trying")
    if draft.door.unread and not ADAPTERS[draft.adapter].has_scheme:
        said = (
            "looks like a signature, and is neither SHA-256 nor SHA-1 in hex or base64: it is not"
            " checked"
        )
        found.append(f"{draft.door.unread} {said}")
    if draft.tell and draft.tell.is_record:
        found.append(
            "this is a record of the product's API, not a request: see it with `leadline preview"
            " --api-response`"
        )
    return found
