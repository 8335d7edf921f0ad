"""What became of our leads in Pipedrive: open, archived, or a deal that is open, won or lost.

    open leads ──> archived leads ──> deals ──> archived deals ──> replaces the last result

Leads and deals are recognised by the `origin_id` that we gave the lead and that its deal keeps.
Pipedrive cannot search for it, so whole lists are read: once a night, a page of 500 every few
seconds, by one worker process at a time. A read spends a bounded share of the day's tokens and
leaves the rest to deliveries; what does not fit is read the next day.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec
import redis
import structlog
from msgspec import Struct, structs

from worker.contract import SUBMISSION_ID_PATTERN, State
from worker.errors import Invalid, LeadlineError, StoreUnavailable, Unavailable
from worker.pipedrive import calls
from worker.pipedrive.calls import Call
from worker.pipedrive.client import Pipedrive
from worker.pipedrive.models import Deal, PipedriveLead, ResultPage
from worker.pipedrive.pagination import MAX_PAGE_SIZE
from worker.store import keys
from worker.store.connection import call_redis, scan_hash, translate_errors
from worker.store.turn_lock import TurnLock

# The hours of the account's day in which a read begins.
QUIET_HOURS = range(2, 5)
# After a missed night, a read begins at any hour.
OVERDUE_SECONDS = 36 * 3600.0
MIN_AGE_SECONDS = 18 * 3600.0
# Before its first lead is a day old, an account has nothing to read.
FIRST_READ_SECONDS = 24 * 3600.0

# Of a day's tokens: the most that nightly reads spend, and what every read leaves to deliveries.
SHARE = 0.05
RESERVE = 0.25
# On a budget set by hand, a twentieth may be less than the shortest read costs.
MIN_SHARE_TOKENS = 100

TICK_SECONDS = 5.0
IDLE_SECONDS = 300.0
LOCK_MILLISECONDS = 60_000
DAY_SECONDS = 86_400

# Deliveries looked at in one step before the lists are read.
COLLECT_SIZE = 1_000
# A page of leads repeats this many of the page before, to notice that the list has moved up.
OVERLAP = 20
# After more calls than that, a read starts over.
MAX_CALLS = 10_000
CLOCK_SKEW_SECONDS = 3_600.0
LOCK_TRIES, LOCK_PAUSE_SECONDS = 600, 1.0

# A submission's id, wherever it stands in an `origin_id`.
_SUBMISSION_ID = re.compile(SUBMISSION_ID_PATTERN)

log = structlog.get_logger("leadline.outcomes")


class OutcomeKind(StrEnum):
    """`converted` is a deal that is still open."""

    OPEN = "open"
    ARCHIVED = "archived"
    CONVERTED = "converted"
    WON = "won"
    LOST = "lost"


DEAL_KINDS = frozenset({OutcomeKind.CONVERTED, OutcomeKind.WON, OutcomeKind.LOST})


class LeadOutcome(Struct, frozen=True, array_like=True, omit_defaults=True):
    """What became of one lead, and the value of its deal."""

    kind: OutcomeKind
    amount: float = 0.0
    currency: str = ""


class OutcomeRead(Struct, frozen=True):
    """A read that ended `at` (Unix seconds): how many calls it made, and what they cost."""

    at: float
    calls: int
    tokens: int


class _Pass(Struct, frozen=True):
    """A read in progress. `part` is an index of `PARTS`, `newest` the latest `add_time` so far."""

    is_collected: bool = False
    part: int = 0
    start: int = 0
    cursor: str | None = None
    newest: str = ""
    calls: int = 0
    tokens: int = 0


class _State(Struct, frozen=True):
    """The fields of `outcomes:state`. `spent` is a day since 1970 and the tokens of its reads."""

    last: OutcomeRead | None = None
    reading: _Pass | None = None
    spent: tuple[int, int] = (0, 0)
    collected: float = 0.0


class _Part(NamedTuple):
    """One of the lists that are read. `kind` is None for deals, which say it themselves."""

    call: Call
    kind: OutcomeKind | None


PARTS = (
    _Part(calls.LEADS_LIST, OutcomeKind.OPEN),
    _Part(calls.LEADS_ARCHIVED, OutcomeKind.ARCHIVED),
    _Part(calls.DEALS_LIST, None),
    _Part(calls.DEALS_ARCHIVED, None),
)


class ReadProgress(StrEnum):
    """How a step ended. `no_share`: the rest of the day's tokens is left to deliveries."""

    GOES_ON = "goes_on"
    ENDED = "ended"
    NO_SHARE = "no_share"


class RowCollector(Protocol):
    """Makes the rows of attribution of what was delivered."""

    def collect(self, since: float, limit: int) -> float | None: ...


class OutcomeReader:
    """Reads outcomes for one account; one per process.

    `rows` are made before each read, because only their leads are read. `daily_tokens` are those of
    the plan, None for an unlimited one; `time_zone` returns the account's. `clock` returns Unix
    seconds, `pause` sleeps.
    """

    def __init__(
        self,
        connection: redis.Redis,
        client: Pipedrive,
        rows: RowCollector,
        *,
        daily_tokens: int | None,
        time_zone: Callable[[], tzinfo],
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], object] = time.sleep,
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self._redis = connection
        self._client = client
        self._rows = rows
        self._daily_tokens = daily_tokens
        self._time_zone = time_zone
        self._clock = clock
        self._pause = pause
        self._account = account
        self._lock = TurnLock(connection, account.outcomes_lock, LOCK_MILLISECONDS)
        self._next_at = 0.0

    def tick(self) -> None:
        """Reads a page if a read is due or in progress and it is our turn.

        Does nothing while delivery is paused. Raises `StoreUnavailable`; what Pipedrive refuses is
        tried again later.
        """
        now = self._clock()
        if now < self._next_at:
            return
        self._next_at = now + IDLE_SECONDS
        try:
            if self._is_paused() or (self._load().reading is None and not self._is_due(now)):
                return
            if not self._lock.take():
                return
            progress = self.step()
            if progress is ReadProgress.GOES_ON:
                self._next_at = now + TICK_SECONDS
            elif progress is ReadProgress.ENDED and (last := self._load().last):
                log.info("outcomes read", calls=last.calls, tokens=last.tokens)
        except StoreUnavailable:
            raise
        except LeadlineError as error:
            log.warning("outcomes cannot be read now", error=error.code)

    def read_now(self) -> OutcomeRead | None:
        """Reads everything anew, at any hour and beyond the nightly share.

        Returns None if deliveries may need what is left of the day's tokens; the workers then carry
        on the next day. Waits while another process reads. Raises `LeadlineError`.
        """
        self._await_lock()
        try:
            self._begin()
            progress = ReadProgress.GOES_ON
            while progress is ReadProgress.GOES_ON:
                self._lock.take()
                progress = self.step(limited=False)
            return self._load().last if progress is ReadProgress.ENDED else None
        finally:
            self._lock.release()

    def _await_lock(self) -> None:
        for _ in range(LOCK_TRIES):
            if self._lock.take():
                return
            self._pause(LOCK_PAUSE_SECONDS)
        raise Unavailable("outcomes", "another process is still reading them")

    def step(self, *, limited: bool = True) -> ReadProgress:
        """Reads one page of the read in progress, or of a new one.

        `limited`: within the nightly share.

        The caller has the lock. Raises `LeadlineError`; the page is then read again.
        """
        state = self._load()
        reading = state.reading or self._begin()
        if not reading.is_collected:
            self._collect(state, reading)
            return ReadProgress.GOES_ON
        if reading.part == len(PARTS) or not self._has_rows():
            return self._end(reading)
        part = PARTS[reading.part]
        if not self._may_spend(part.call.cost, state, limited=limited):
            return ReadProgress.NO_SHARE
        try:
            following = self._read_page(part, reading)
        except Invalid:
            if reading.cursor is None:
                raise
            # Yesterday's cursor may be refused: then that list is read from its beginning.
            following = structs.replace(reading, cursor=None)
        cost = part.call.cost
        day, spent = self._spent_today(state)
        following = structs.replace(
            following, calls=reading.calls + 1, tokens=reading.tokens + cost
        )
        self._store(reading=following, spent=(day, spent + cost))
        if following.part == len(PARTS):
            return self._end(following)
        if following.calls >= MAX_CALLS:
            self._begin()
            raise Unavailable("outcomes", f"the lists do not end within {MAX_CALLS} pages")
        return ReadProgress.GOES_ON

    # -- when

    def _is_paused(self) -> bool:
        return bool(call_redis(lambda: self._redis.exists(keys.PAUSE, self._account.gate)))

    def _is_due(self, now: float) -> bool:
        """Whether a read is to begin: at night, or once one is overdue."""
        oldest = self._oldest_delivery()
        if oldest is None or now - oldest < FIRST_READ_SECONDS:
            return False
        last = self._load().last
        if last is not None and now - last.at < MIN_AGE_SECONDS:
            return False
        if last is not None and now - last.at >= OVERDUE_SECONDS:
            return True
        return datetime.fromtimestamp(now, self._time_zone()).hour in QUIET_HOURS

    def _oldest_delivery(self) -> float | None:
        """When the first lead was delivered, as far as the store and the last read know."""
        if self._has_rows():
            return 0.0
        entries = call_redis(
            lambda: self._redis.zrange(keys.state(State.DELIVERED), 0, 0, withscores=True)
        )
        return float(entries[0][1]) if entries else None

    def _may_spend(self, cost: int, state: _State, *, limited: bool) -> bool:
        if self._daily_tokens is None:
            return True
        day, spent = self._spent_today(state)
        if limited and spent + cost > max(SHARE * self._daily_tokens, MIN_SHARE_TOKENS):
            return False
        return self._tokens_left(day) - cost >= RESERVE * self._daily_tokens

    def _spent_today(self, state: _State) -> tuple[int, int]:
        """Today as the rate limiter counts days, and the tokens that today's reads spent."""
        day = int(self._clock() // DAY_SECONDS)
        return day, state.spent[1] if state.spent[0] == day else 0

    def _tokens_left(self, day: int) -> float:
        """As the rate limiter counts them."""
        names = [self._account.allowance("left"), self._account.allowance(f"day:{day}")]
        left, used = call_redis(lambda: self._redis.mget(names))
        return float(left) if left is not None else (self._daily_tokens or 0) - float(used or 0)

    # -- a page

    def _begin(self) -> _Pass:
        reading = _Pass()
        call_redis(lambda: self._redis.delete(self._account.outcomes_next))
        self._store(reading=reading)
        return reading

    def _collect(self, state: _State, reading: _Pass) -> None:
        following = self._rows.collect(state.collected, COLLECT_SIZE)
        if following is None:
            # Clocks may differ: what was delivered within the last hour is looked at again.
            collected = max(state.collected, self._clock() - CLOCK_SKEW_SECONDS)
            self._store(reading=structs.replace(reading, is_collected=True), collected=collected)
        else:
            self._store(collected=following)

    def _read_page(self, part: _Part, reading: _Pass) -> _Pass:
        """Reads a page, stores its outcomes and returns where to go on."""
        if part.kind is None:
            list_deals = (
                self._client.deals.list
                if part.call is calls.DEALS_LIST
                else self._client.deals.list_archived
            )
            deals = list_deals(limit=MAX_PAGE_SIZE, cursor=reading.cursor)
            self._add_deals(deals.items)
            if deals.next_cursor is None:
                return structs.replace(reading, part=reading.part + 1, cursor=None)
            return structs.replace(reading, cursor=deals.next_cursor)
        list_leads = (
            self._client.leads.list
            if part.call is calls.LEADS_LIST
            else self._client.leads.list_archived
        )
        leads = list_leads(limit=MAX_PAGE_SIZE, start=reading.start)
        self._add({lead.origin_id: LeadOutcome(part.kind) for lead in leads.items})
        return _following_leads(reading, leads)

    def _add_deals(self, deals: Iterable[Deal]) -> None:
        """Adds deals; of two with the same origin, a deal and its copy, the older one counts."""
        outcomes: dict[str | None, LeadOutcome] = {}
        for deal in deals:
            outcomes.setdefault(deal.origin_id, _outcome_of(deal))
        self._add(outcomes)

    def _add(self, outcomes: Mapping[str | None, LeadOutcome]) -> None:
        """Stores outcomes by `origin_id`, of leads that have a row and no deal yet."""
        by_id = {
            submission_id: outcome
            for origin_id, outcome in outcomes.items()
            for submission_id in _SUBMISSION_ID.findall(origin_id or "")
        }
        if not by_id:
            return
        ids = list(by_id)
        with translate_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(self._account.attribution, ids)
            pipe.hmget(self._account.outcomes_next, ids)
            rows, stored = pipe.execute()
        entries: dict[Any, Any] = {
            submission_id: msgspec.json.encode(by_id[submission_id])
            for submission_id, row, before in zip(ids, rows, stored, strict=True)
            if row is not None and (before is None or _decode(before).kind not in DEAL_KINDS)
        }
        if entries:
            call_redis(lambda: self._redis.hset(self._account.outcomes_next, mapping=entries))

    def _has_rows(self) -> bool:
        return bool(call_redis(lambda: self._redis.exists(self._account.attribution)))

    def _end(self, reading: _Pass) -> ReadProgress:
        """Replaces the last result, in one transaction."""
        last = OutcomeRead(self._clock(), reading.calls, reading.tokens)
        account = self._account
        with translate_errors():
            exists = self._redis.exists(account.outcomes_next)
            with self._redis.pipeline(transaction=True) as pipe:
                if exists:
                    pipe.rename(account.outcomes_next, account.outcomes)
                else:
                    pipe.delete(account.outcomes)
                pipe.hset(account.outcomes_state, "last", msgspec.json.encode(last))
                pipe.hdel(account.outcomes_state, "reading")
                pipe.execute()
        return ReadProgress.ENDED

    # -- state

    def _load(self) -> _State:
        return _load_state(self._redis, self._account)

    def _store(self, **fields: object) -> None:
        encoded: dict[Any, Any] = {
            name: msgspec.json.encode(value) for name, value in fields.items()
        }
        call_redis(lambda: self._redis.hset(self._account.outcomes_state, mapping=encoded))


def each_outcome(
    connection: redis.Redis, account: keys.Account = keys.DEFAULT_ACCOUNT
) -> Iterator[tuple[str, LeadOutcome]]:
    """What the last read that ended says of each lead, by submission id.

    Raises `StoreUnavailable`.
    """
    for name, value in scan_hash(connection, account.outcomes):
        yield name.decode(), _decode(value)


def last_outcome_read(
    connection: redis.Redis, account: keys.Account = keys.DEFAULT_ACCOUNT
) -> OutcomeRead | None:
    """The last read that ended; None before the first. Raises `StoreUnavailable`."""
    return _load_state(connection, account).last


def _load_state(connection: redis.Redis, account: keys.Account) -> _State:
    stored = call_redis(lambda: connection.hgetall(account.outcomes_state))
    fields = {name.decode(): msgspec.Raw(value) for name, value in stored.items()}
    return msgspec.json.decode(msgspec.json.encode(fields), type=_State)


def _decode(stored: bytes) -> LeadOutcome:
    return msgspec.json.decode(stored, type=LeadOutcome)


def _outcome_of(deal: Deal) -> LeadOutcome:
    kinds = {"won": OutcomeKind.WON, "lost": OutcomeKind.LOST}
    kind = kinds.get(deal.status or "", OutcomeKind.CONVERTED)
    return LeadOutcome(kind, deal.value or 0.0, deal.currency or "")


def _following_leads(reading: _Pass, page: ResultPage[PipedriveLead]) -> _Pass:
    """Returns where a list of leads goes on.

    It is sorted by `add_time`, and a lead that leaves it moves the rest up. So each page overlaps
    the one before; if all of it is newer, leads may have been passed over, and we go back a page.
    """
    first = page.items[0].add_time or "" if page.items else None
    if reading.start > 0 and (first is None or first > reading.newest):
        return structs.replace(reading, start=max(0, reading.start - MAX_PAGE_SIZE))
    if page.next_start is None:
        return structs.replace(reading, part=reading.part + 1, start=0, newest="")
    newest = max(reading.newest, *(lead.add_time or "" for lead in page.items))
    overlap = OVERLAP if len(page.items) > OVERLAP else 0
    return structs.replace(reading, start=page.next_start - overlap, newest=newest)
