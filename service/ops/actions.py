"""What operators do, whether they ask in the console, by the API or in a terminal. Each deed is in
the audit trail.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, structs

from service.ops.filters import Filter, states
from service.ops.schemas import BulkProgress, CauseCard, Page
from service.sources.fields.text import clean, line
from service.sources.fields.values import email
from service.sources.fields.values import email as sources_email
from service.web.request_id import may_be_id
from worker.contract import Lead, State
from worker.erasure import erasure
from worker.erasure.erasure import Erasure
from worker.errors import LeadlineError, NotAllowed, Overtaken
from worker.lead.edit import EditError, mend
from worker.ledger import Ledger, Record, audit
from worker.ledger.audit import AuditTrail
from worker.ledger.bulk import ACTIONS, BulkActions, BulkProgress
from worker.ledger.identifiers import Identifier
from worker.ledger.ledger import Audited
from worker.ledger.status import LEAD_TOKENS, Paused
from worker.queue.rq_queue import open_queue
from worker.queue.sweeper import Sweeper
from worker.store import keys
from worker.times import format_iso

# An edit of a lead as people type it, made as safe and as regular as what comes through the door.

MOST_FIELDS = 200
DEEPEST = 4
"""Levels of an edit's value: `answers` is a table of lists at the deepest."""

SEVERAL_LINES = ("message", "answers")
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def typed(edit: Mapping[str, Any]) -> dict[str, Any]:
    """The edit with its text cleaned, its e-mail and currency in their regular form. An empty value
    removes the field.

    Raises `EditError` with every fault at once: what is no field of a lead, or has the wrong type,
    or is no address.
    """
    if len(edit) > MOST_FIELDS:
        raise EditError({"edit": f"expected at most {MOST_FIELDS} fields, got {len(edit)}"})
    faults: dict[str, str] = {}
    cleaned: dict[str, Any] = {}
    for name, value in edit.items():
        try:
            cleaned[line(name)] = _regular(name, value)
        except ValueError as fault:
            faults[line(name)] = str(fault)
    try:
        mend(Lead(), cleaned)
    except EditError as error:
        faults |= error.faults
    if faults:
        raise EditError(faults)
    return cleaned


def _regular(name: str, value: Any) -> Any:
    value = _cleaned(name.partition(".")[0], value, 0)
    if name == "email" and isinstance(value, str) and value:
        address = email(value)
        if address is None:
            raise ValueError("expected an e-mail address, got something else")
        return address
    if name == "value.currency" and isinstance(value, str) and value:
        if not _CURRENCY.fullmatch(value.upper()):
            raise ValueError("expected a currency of three letters, such as EUR")
        return value.upper()
    return value


def _cleaned(group: str, value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError("expected text, a number or a table, got something nested too deeply")
    if isinstance(value, str):
        return clean(value) if group in SEVERAL_LINES else line(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("expected a number, got one that is none")
    if isinstance(value, dict):
        return {line(str(key)): _cleaned(group, each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_cleaned(group, each, depth + 1) for each in value]
    return value


Edit = Mapping[str, Any] | None
LONGEST_REASON = 500
LONGEST_ADDRESS = 400


class NotFound(LeadlineError):
    """There is nothing of this id."""

    code = "not-found"


class NothingToMend(LeadlineError):
    """The submission has no content that an edit could be made to: it is erased, or sealed under a
    key that is not here.
    """

    code = "nothing-to-mend"


class EmptyFilter(LeadlineError):
    """A bulk action was asked for without saying for which."""

    code = "filter"


class Cost(Struct, frozen=True):
    """What a bulk action may cost at the most, in Pipedrive's API tokens; `left` is what the day
    has, None where unknown.
    """

    tokens: int
    left: int | None


class Finder(Protocol):
    """`service.ops.queries.Reader`, as far as it is needed here."""

    def ids(self, filter: Filter) -> list[str]: ...

    def causes(self) -> Page[CauseCard]: ...


class Actions:
    """Safe for any thread. Every method may raise `StoreUnavailable`; `by` is the token's name, or
    `cli:` and the user's.

    `data_dir` is where the spools of this machine are.
    """

    def __init__(self, ledger: Ledger, finder: Finder, data_dir: Path | None = None) -> None:
        self.ledger = ledger
        self._sweeper = Sweeper(ledger, open_queue(ledger.redis))
        self._finder = finder
        self._data_dir = data_dir
        self.bulks = BulkActions(ledger)
        self.audit = AuditTrail(ledger.redis)

    # -- one submission
    # --------------------------------------------------------------------------------------------

    def retry(
        self, submission_id: str, by: str, edit: Edit = None, seen: str | None = None
    ) -> State:
        """A dead letter is delivered again, mended first where `edit` says how.

        `seen` is the `updated_at` of what the person looked at. Raises `NotFound`, `NotAllowed`,
        `Overtaken` where it changed since, `EditError` with the fields, `NothingToMend`.
        """
        return self._replay(submission_id, by, "retry", edit, seen)

    def accept(
        self, submission_id: str, by: str, edit: Edit = None, seen: str | None = None
    ) -> State:
        """No spam after all: from quarantine to delivery. Raises what `retry` does."""
        return self._replay(submission_id, by, "accept", edit, seen)

    def discard(self, submission_id: str, by: str, why: str = "") -> State:
        """Given up, from the dead letters or from quarantine. Raises `NotFound`, `NotAllowed`."""
        with _found(submission_id):
            self.ledger.discard(submission_id, by, why.strip()[:LONGEST_REASON])
        return State.DISCARDED

    def undo(self, submission_id: str, by: str) -> State:
        """A discard is taken back. Raises `NotFound`, `NotAllowed`."""
        with _found(submission_id):
            return self.ledger.undiscard(submission_id, by)

    def reveal(self, target: str, by: str) -> None:
        """Notes that somebody looks at personal data: of a submission, or of a whole list or
        export. To be called before.
        """
        self.audit.note(by, "reveal", target)

    def _replay(
        self, submission_id: str, by: str, action: str, edit: Edit, seen: str | None
    ) -> State:
        lead, as_of = (
            self._mended(submission_id, action, edit, seen) if edit or seen else (None, None)
        )
        detail = f"edited: {', '.join(sorted(edit))}" if edit else ""
        allowed = ACTIONS[action]
        with _found(submission_id):
            return self._sweeper.replay(
                submission_id,
                by,
                action,
                lead,
                allowed=allowed,
                audit=Audited(action, detail),
                seen=as_of,
            )

    def _mended(
        self, submission_id: str, action: str, edit: Edit, seen: str | None
    ) -> tuple[Lead | None, float]:
        """The lead with the edit, and when the record that it was made from had changed last."""
        record = self._record(submission_id)
        if record.state not in ACTIONS[action]:
            raise NotAllowed(submission_id, record.state, action)
        if seen and seen != format_iso(record.updated_at):
            raise Overtaken(submission_id, record.state, action)
        if not edit:
            return None, record.updated_at
        if record.sealed or record.raw is None:
            held = (
                "sealed under a key that LEADLINE_ENCRYPTION_KEYS does not list"
                if record.sealed
                else "erased"
            )
            raise NothingToMend(f"{submission_id} has no content to mend: it is {held}")
        return mend(record.lead or Lead(), typed(edit)), record.updated_at

    def _record(self, submission_id: str) -> Record:
        record = self.ledger.get(submission_id) if may_be_id(submission_id) else None
        if record is None:
            raise NotFound(f"there is no submission {submission_id}")
        return record

    # -- everything
    # ----------------------------------------------------------------------------------------------

    def pause(self, by: str, reason: str = "") -> Paused | None:
        """No delivery starts until somebody resumes; what is in hand is finished."""
        self.ledger.gate.pause(reason.strip()[:LONGEST_REASON], by)
        return self.paused()

    def resume(self, by: str) -> Paused | None:
        """Returns what else holds the deliveries up: a gate that Pipedrive's answers closed, or
        None.
        """
        self.ledger.gate.resume(by)
        return self.paused()

    def paused(self) -> Paused | None:
        found = self.ledger.gate.find_pause()
        return (
            Paused(found.reason, format_iso(found.since) or "", format_iso(found.until))
            if found
            else None
        )

    def ignore(self, cause_id: str, by: str) -> None:
        """What died of it until now needs nobody; it shows itself again once it comes back. Raises
        `NotFound`.
        """
        self._known_cause(cause_id)
        self.audit.note(by, "ignore", cause_id)
        audit.ignore(self.ledger.redis, cause_id, self.ledger.now())

    def unignore(self, cause_id: str, by: str) -> None:
        """The cause counts again. Raises `NotFound`."""
        self._known_cause(cause_id)
        self.audit.note(by, "reopen", cause_id)
        audit.unignore(self.ledger.redis, cause_id)

    def _known_cause(self, cause_id: str) -> None:
        if all(cause.id != cause_id for cause in self._finder.causes().items):
            raise NotFound("there is no such cause, or nothing is dead of it any more")

    def erase(self, email: str, by: str) -> Erasure:
        """Everything of an e-mail address goes for good, from the disks too: that takes seconds.
        Raises `EditError`.

        What is left is said in the answer: what Pipedrive has, and what could not be erased.
        """
        address = email.strip()
        if not 3 <= len(address) <= LONGEST_ADDRESS or "@" not in address:
            raise EditError({"email": "expected an e-mail address"})
        who: Identifier = ("email", sources_email(address) or address)
        done = erasure.erase(self.ledger, who, by, data_dir=self._data_dir)
        self.audit.note(
            by, "erase", keys.digest(*who), f"erased: {done.erased}; left: {len(done.left)}"
        )
        return done

    # -- many
    # ----------------------------------------------------------------------------------------------

    def bulk(
        self,
        action: str,
        filter: Filter,
        expect: int,
        by: str,
        edit: Mapping[str, Any] | None = None,
    ) -> BulkProgress:
        """One decision over all that match now and whose state allows it. It goes on by itself: see
        `worker.ledger.bulk`.

        Raises `EmptyFilter`, `FilterError`, `EditError`, and `CountDiffers` when they are not
        `expect`.
        """
        edit = typed(edit) if edit else None
        bulk = self.bulks.make(
            action, self.matching(action, filter), expect, by, edit=edit, detail=_told(filter, edit)
        )
        return self.bulk_progress(bulk)

    def matching(self, action: str, filter: Filter) -> list[str]:
        """The submissions that a bulk action would take, the oldest change first. Raises
        `EmptyFilter`, `FilterError`.
        """
        if filter.empty:
            raise EmptyFilter("the filter is empty: name a state, a source, a cause or a text")
        asked = set(states(filter.state)) if filter.state else set(State)
        wanted = [state.value for state in ACTIONS[action] if state in asked]
        return (
            self._finder.ids(structs.replace(filter, state=",".join(wanted)))[::-1]
            if wanted
            else []
        )

    def bulk_progress(self, bulk: str) -> BulkProgress:
        """Raises `NotFound`, also for one that ended more than a week ago."""
        found = self.bulks.progress(bulk) if may_be_id(bulk) else None
        if found is None:
            raise NotFound(f"there is no bulk action {bulk}")
        return progress(found)

    def bulk_stop(self, bulk: str, by: str) -> BulkProgress:
        """What it did not begin stays as it is; of one that is over, nothing changes. Raises
        `NotFound`.
        """
        self.bulk_progress(bulk)
        self.bulks.stop(bulk, by)
        return self.bulk_progress(bulk)

    def newest_bulks(self, limit: int = 20) -> list[BulkProgress]:
        """The newest first."""
        return [progress(found) for found in self.bulks.newest(limit)]

    def cost(self, count: int) -> Cost:
        """For the dialogue before a bulk retry. Raises `StoreUnavailable`."""
        left = self.ledger.redis.get(keys.DEFAULT_ACCOUNT.allowance("left"))
        return Cost(count * LEAD_TOKENS, int(left) if left else None)


def progress(found: BulkProgress) -> BulkProgress:
    """As the console shows it."""
    return BulkProgress(
        id=found.id,
        action=found.action,
        count=found.count,
        left=found.left,
        delivered=found.delivered,
        dead=found.dead,
        stopped=found.stopped,
        done=found.done,
        by=found.by,
        at=format_iso(found.at),
        skipped=found.skipped,
        ended_at=format_iso(found.ended_at),
    )


def _told(filter: Filter, edit: Edit) -> str:
    """The filter for the trail: what was searched for may be somebody's address, so a digest stands
    for it.
    """
    parts = filter.parameters() | ({"q": keys.digest(filter.q)[:12]} if filter.q else {})
    edited = [f"edited: {', '.join(sorted(edit))}"] if edit else []
    return "; ".join([f"{name}={value}" for name, value in parts.items()] + edited)


@contextmanager
def _found(submission_id: str) -> Iterator[None]:
    """A move of what is not there is `NotFound`, not a question of its state."""
    if not may_be_id(submission_id):
        raise NotFound("there is no such submission")
    try:
        yield
    except NotAllowed as error:
        if error.state is None:
            raise NotFound(f"there is no submission {error.submission_id}") from None
        raise
