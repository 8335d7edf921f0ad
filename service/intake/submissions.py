"""From what a request said to what the ledger takes."""

from __future__ import annotations

from collections.abc import Callable

from service.intake.duplicates import duplicate_key
from service.sources.config import Source
from service.sources.reading import Event, Outcome, Reading, Request
from worker.causes import no_contact
from worker.contract import Cause, Precedence, Raw, State, Submission

DIRECT = frozenset({"form", "json"})
"""Adapters whose sender is a person or a partner who can mend the request; a product would drop the event instead."""

STATES = {
    Outcome.LEAD: State.QUEUED,
    Outcome.NEEDS_FETCH: State.QUEUED,
    Outcome.NO_LEAD: State.IGNORED,
    Outcome.SPAM: State.QUARANTINED,
    Outcome.NO_CONTACT: State.DEAD,
}


def events_of(reading: Reading) -> list[Event]:
    """The events; a genuine request without any (a ping, an empty batch) is one event that makes no lead."""
    return reading.events or [Event(outcome=Outcome.NO_LEAD, lead=None, why=reading.detail or "no events")]


def nobody_to_reach(source: Source, reading: Reading) -> bool:
    """Whether the sender should mend the request: a form or partner post in which no event can be answered."""
    return source.adapter in DIRECT and all(event.outcome is Outcome.NO_CONTACT for event in events_of(reading))


def submissions(
    source: Source, request: Request, reading: Reading, raw: Raw, *, key: str | None, now: float, new_id: Callable[[], str]
) -> list[Submission]:
    """One submission for each event. `raw` is the request without its secrets, `key` the Idempotency-Key."""
    return [
        Submission(
            id=new_id(),
            source=source.name,
            state=STATES.get(event.outcome, State.QUEUED),
            received_at=now,
            lead=event.lead,
            raw=raw,
            duplicate_key=duplicate_key(source, request, event, place, key),
            cause=_cause(source, reading, event),
            why=event.why,
            fetch=event.fetch,
            precedence=precedence(source, request),
        )
        for place, event in enumerate(events_of(reading))
    ]


def precedence(source: Source, request: Request) -> Precedence:
    """Whether a person waits for a call: at a form, or in any browser, which names its page's origin in every post."""
    person = source.adapter == "form" or request.header("origin") is not None
    return Precedence.FORM if person else Precedence.WEBHOOK


def _cause(source: Source, reading: Reading, event: Event) -> Cause | None:
    """Why an event is parked at once: nobody can be reached by it."""
    if event.outcome is not Outcome.NO_CONTACT:
        return None
    return no_contact(source.name, "intake", event.why, reading.problems[0].field if reading.problems else "email")
