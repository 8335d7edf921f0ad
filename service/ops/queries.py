"""Everything that operators can ask, for the console, the API, the exports and the commands.

overview, submission      answered from Redis, each time
submissions, ids, causes  answered from the index, which knows every change made before the question
"""

from __future__ import annotations

import base64
import binascii
import copy
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import structs

from service.attribution import CampaignItem, read_campaigns
from service.ops import detail as details
from service.ops.activity import HABITS_TTL_SECONDS, Activity, build_activity, find_habits
from service.ops.cause_cards import TREND_HOURS, CauseTally, build_cause_card, build_cause_cards
from service.ops.dry_run import AccountDrift, DryRunResult, build_drift, dry_run_record
from service.ops.exceptions import NotFound
from service.ops.export import ExportRow, read_export_rows
from service.ops.filters import Filter, FilterError
from service.ops.items import build_item_from_row, read_items
from service.ops.reading import StoredReading, read_stored
from service.ops.schemas import (
    CampaignReport,
    CauseCard,
    Detail,
    Item,
    Overview,
    Page,
)
from service.ops.search_index import PATIENCE_SECONDS, Freshness, Loading, SearchIndex
from service.ops.search_table import Place, SearchTable
from service.overview import overview_while_away, read_overview
from service.sources.schema import Source
from worker.causes import UNRECORDED, cause_id, title
from worker.contract import Result, State
from worker.drift.drift import last_report as last_drift
from worker.errors import StoreUnavailable
from worker.lead.settings import LeadMapping
from worker.ledger import Ledger, Record
from worker.ledger.audit import ignored_causes
from worker.pipedrive.lead_outcomes import last_outcome_read
from worker.store import keys
from worker.units import format_iso

__all__ = ["Filter", "FilterError", "Freshness", "Loading", "SubmissionQueries"]

MAX_PAGE_SIZE = 200
# How long one submission's detail waits for the index, which only counts others of its cause.
CAUSE_PATIENCE_SECONDS = 1.0


class HasSources(Protocol):
    """A source file, or what keeps one current."""

    @property
    def sources(self) -> dict[str, Source]: ...


class _LastAnswers:
    """What is remembered between questions, and shared by copies that `with_patience` makes."""

    def __init__(self) -> None:
        self.overview: Overview | None = None
        self.cards: list[CauseCard] | None = None
        self.campaigns: tuple[object, list[CampaignItem]] | None = None
        self.habits: tuple[float, Mapping[str, float]] = (0.0, {})


class SubmissionQueries:
    """Safe for any thread; every question may raise `StoreUnavailable`.

    `Loading` is a kind of it that passes by itself. `patience` is how many seconds a question
    waits for the index. For commands: `only` keeps the lists to some states, `quiet` keeps the log
    to faults.
    """

    def __init__(
        self,
        ledger: Ledger,
        sources: HasSources | None,
        data_dir: Path,
        *,
        only: Collection[State] = tuple(State),
        patience: float = PATIENCE_SECONDS,
        quiet: bool = False,
    ) -> None:
        self._ledger = ledger
        self._sources = sources
        self._data_dir = data_dir
        self._index = SearchIndex(ledger, only=only, patience=patience, quiet=quiet)
        self._patience: float | None = None
        self._last = _LastAnswers()

    def with_patience(self, seconds: float) -> SubmissionQueries:
        """A copy whose questions wait no longer than that for the index.

        It is for pages, which show what there is.
        """
        other = copy.copy(self)
        other._patience = seconds
        return other

    def overview(self) -> Overview:
        """The overview now.

        While Redis is away, it is the last one, with `redis` in `degraded`.
        """
        try:
            current = read_overview(
                self._ledger, self._data_dir, open_causes=self._count_open_causes()
            )
        except StoreUnavailable:
            return overview_while_away(self._last.overview, self._data_dir)
        self._last.overview = current
        return current

    def _count_open_causes(self) -> int | None:
        """None while the index loads: they are then counted in the store."""
        try:
            return self.causes(ignored=False).total
        except Loading:
            return None

    def causes(self, *, ignored: bool = True) -> Page[CauseCard]:
        """Dead letters by cause, the most frequent first, ignored ones last or left out."""
        cards = self._build_cause_cards(self._index.current(self._patience))
        self._last.cards = cards
        selected = [card for card in cards if ignored or not card.ignored]
        return Page(selected, None, len(selected))

    def last_causes(self) -> list[CauseCard]:
        """All causes or, while they cannot be read, those of the last answer.

        Raises `StoreUnavailable` where there was none.
        """
        try:
            return self.causes().items
        except StoreUnavailable:
            if self._last.cards is None:
                raise
            return self._last.cards

    def _build_cause_cards(self, table: SearchTable) -> list[CauseCard]:
        return build_cause_cards(table, ignored_causes(self._ledger.redis), self._ledger.now())

    def submissions(
        self,
        filter: Filter,
        *,
        cursor: str | None = None,
        limit: int = 50,
        reveal: bool = False,
        wait: bool = True,
    ) -> Page[Item]:
        """A page of what matches, the latest change first.

        With `wait=False` it answers from what the index holds now, while it loads or while Redis is
        away: see `freshness`. Raises `FilterError` for a wrong filter, cursor or limit.
        """
        if not 1 <= limit <= MAX_PAGE_SIZE:
            raise FilterError("limit", f"expected 1 to {MAX_PAGE_SIZE}, got {limit}")
        after = read_cursor(cursor) if cursor else None
        table = self._index.current(self._patience) if wait else self._index.peek()
        rows = table.page(filter, after, limit + 1)
        rows, has_more = rows[:limit], len(rows) > limit
        ids = [row.id for row in rows]
        try:
            items = read_items(self._ledger, ids, self._lead_mappings(), reveal=reveal)
            table.forget({*ids} - {item.id for item in items})
        except StoreUnavailable:
            if wait:
                raise
            items = [
                build_item_from_row(
                    row, title(table.cause(row.cause) or UNRECORDED) if row.cause else None
                )
                for row in rows
            ]
        next_cursor = write_cursor((rows[-1].at, rows[-1].id)) if has_more else None
        return Page(items, next_cursor, table.count(filter))

    def ids(self, filter: Filter) -> list[str]:
        """The ids of all that match, the latest change first. Raises `FilterError`."""
        return self._index.current(self._patience).ids(filter)

    def count(self, filter: Filter) -> int:
        """How many match. Raises `FilterError`."""
        return self._index.current(self._patience).count(filter)

    def export_rows(self, filter: Filter, *, reveal: bool = False) -> Iterator[list[ExportRow]]:
        """All that match, in batches.

        Raises `FilterError` at once, `StoreUnavailable` at any time.
        """
        return read_export_rows(
            self._ledger, self.ids(filter), self._lead_mappings(), reveal=reveal
        )

    def submission(self, submission_id: str, *, reveal: bool) -> Detail:
        """Everything about one submission. Raises `NotFound`."""
        history = (
            self._ledger.find_history(submission_id) if keys.is_safe_id(submission_id) else None
        )
        if history is None:
            raise NotFound("there is no submission with this id")
        return details.build_detail(
            history,
            self._find_cause_card(history.record, reveal=reveal),
            self._find_source(history.record.source),
            self._lead_mappings(),
            reveal=reveal,
        )

    def dry_run(
        self, submission_id: str, edit: Mapping[str, Any] | None = None, *, reveal: bool
    ) -> DryRunResult:
        """What a retry would do now, with the lead edited. Raises `NotFound`, `EditError`."""
        record = self._ledger.get(submission_id) if keys.is_safe_id(submission_id) else None
        if record is None:
            raise NotFound("there is no submission with this id")
        return dry_run_record(
            self._ledger, self._lead_mappings(), record, edit, reveal=reveal, clock=self._ledger.now
        )

    def reading(self, submission_id: str, *, reveal: bool) -> StoredReading:
        """How it is read under the source file as it is now. Raises `NotFound`."""
        record = self._ledger.get(submission_id) if keys.is_safe_id(submission_id) else None
        if record is None:
            raise NotFound("there is no submission with this id")
        return read_stored(record, self._find_source(record.source), reveal=reveal)

    def drift(self) -> AccountDrift:
        """The names in the source file that the account lacks, by the last hourly check."""
        return build_drift(last_drift(self._ledger.redis))

    def activity(self, hours: int = 24) -> Activity:
        """What each source sent and what was delivered, hour by hour."""
        names = self._sources.sources if self._sources else ()
        table, now = self._index.current(self._patience), self._ledger.now()
        return build_activity(table, names, self._find_habits(table, now), now, hours)

    def _find_habits(self, table: SearchTable, now: float) -> Mapping[str, float]:
        read_at, habits = self._last.habits
        if not read_at <= now < read_at + HABITS_TTL_SECONDS:
            habits = find_habits(table, now)
            self._last.habits = (now, habits)
        return habits

    def count_labelled(self) -> int:
        """How many delivered submissions labelled an open lead instead of creating one."""
        values = (State.DELIVERED.value, Result.LABELLED.value)
        sql = "select count(*) from submission where state = ? and result = ?"
        return int(self._index.current(self._patience).query(sql, values)[0][0])

    def attribution(self) -> CampaignReport:
        """Where leads come from and what became of them; counted again once anything changes."""
        ledger, mappings = self._ledger, self._lead_mappings()
        key = (ledger.last_change(), last_outcome_read(ledger.redis, ledger.account), mappings)
        if self._last.campaigns is None or self._last.campaigns[0] != key:
            self._last.campaigns = (key, read_campaigns(ledger, mappings))
        items, read = self._last.campaigns[1], key[1]
        return CampaignReport(
            items,
            None,
            len(items),
            format_iso(read.at) if read else None,
            read.tokens if read else None,
        )

    def freshness(self) -> Freshness:
        """Whether the index still loads, and when it was last up to date."""
        return self._index.freshness()

    def _find_cause_card(self, record: Record, *, reveal: bool) -> CauseCard | None:
        """The card of the cause for which it died or waits.

        The detail is this submission's own; the counts are those of all.
        """
        if record.cause is None and record.state is not State.DEAD:
            return None
        tally = CauseTally(
            int(record.state is State.DEAD),
            [record.source],
            record.updated_at,
            record.updated_at,
            [0] * TREND_HOURS,
        )
        card = build_cause_card(record.cause or UNRECORDED, tally, {}, reveal=reveal)
        try:
            cards = self._build_cause_cards(self._index.current(patience=CAUSE_PATIENCE_SECONDS))
        except Loading:
            return card
        shared = next((card for card in cards if card.id == cause_id(record.cause)), None)
        return structs.replace(shared, detail=card.detail, hint=card.hint) if shared else card

    def _find_source(self, name: str) -> Source | None:
        return self._sources.sources.get(name) if self._sources else None

    def _lead_mappings(self) -> Mapping[str, LeadMapping]:
        sources = self._sources.sources if self._sources else {}
        return {name: source.lead_mapping for name, source in sources.items()}


def write_cursor(place: Place) -> str:
    """The cursor of the page that begins after this place."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode().rstrip("=")


def read_cursor(text: str) -> Place:
    """The place in a cursor. Raises `FilterError` for anything but the cursor of an answer."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=tuple[float, str])
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise FilterError(
            "cursor", "expected the `next` of an answer, got something else"
        ) from None
