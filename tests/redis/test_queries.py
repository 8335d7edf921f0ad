"""What the operators' windows are told: from a real Redis, through the index."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as redis_py
from msgspec import structs

from service.ops import search_index
from service.ops.exceptions import NotFound
from service.ops.queries import Filter, FilterError, Loading, SubmissionQueries
from service.sources.schema import Source
from tests.flow.intake_world import FixedSources
from tests.redis.store import submission
from tests.redis.test_accept import accept
from worker.causes import cause_id, no_contact
from worker.contract import Cause, Lead, Raw, State, Utm
from worker.encryption import Cipher
from worker.errors import StoreUnavailable
from worker.lead.settings import LeadSettings, Rule
from worker.ledger import Ledger
from worker.ledger import reader as ledger_reader
from worker.ledger.audit import ignore_cause
from worker.store import keys
from worker.store.connection import connect

Client = Callable[[], AbstractAsyncContextManager[Any]]
Store = Callable[..., list[str]]
KEY = "bGVhZGxpbmUtY29uc29sZS10ZXN0LWtleS0xMjM0NTY="
LABELS = Cause(
    step="names",
    code="unknown-name",
    detail="no 'X'",
    field="label",
    setting="sources.contact.lead.labels",
    hint="add it",
)


@pytest.fixture
def ledger(redis: redis_py.Redis) -> Ledger:
    return Ledger(redis, Cipher(()))


SOURCES = {
    "contact": Source(
        name="contact",
        lead=LeadSettings(labels=["Website"], channel="Web forms"),
        rules=[Rule(when={"utm_source": "google"}, channel="Paid search", labels=["PPC"])],
    )
}


@pytest.fixture
def reader(ledger: Ledger, tmp_path: Path) -> SubmissionQueries:
    return SubmissionQueries(ledger, FixedSources(SOURCES), tmp_path)


@pytest.fixture
def store(aredis: Client, redis: redis_py.Redis) -> Store:
    """Accepts submissions and returns their ids."""

    def take(
        count: int = 1,
        state: State = State.QUEUED,
        source: str = "contact",
        cause: Cause | None = None,
        **lead: Any,
    ) -> list[str]:
        given = Lead(**({"name": "Ada Lovelace", "email": "ada@example.com"} | lead))
        submissions = [
            structs.replace(submission(state, source=source), lead=given, cause=cause)
            for _ in range(count)
        ]
        asyncio.run(accept(aredis, redis, submissions))
        return [each.id for each in submissions]

    return take


def list_ids(reader: SubmissionQueries, **filter: str) -> list[str]:
    return [item.id for item in reader.submissions(structs.replace(Filter(), **filter)).items]


# -- the index
# --------------------------------------------------------------------------------------------------


def test_an_answer_knows_what_happened_before_the_question(
    reader: SubmissionQueries, ledger: Ledger, store: Store
) -> None:
    """A change of state is in the very next answer, in list, count and filter."""
    [mine] = store(state=State.DEAD)
    assert reader.submissions(Filter(state="dead")).total == 1
    ledger.discard(mine, "kim", "spam")
    assert reader.submissions(Filter(state="dead")).total == 0
    assert reader.ids(Filter(state="discarded")) == [mine]
    [other] = store()
    assert list_ids(reader) == [other, mine]


def test_what_was_there_before_the_first_question_is_found(
    reader: SubmissionQueries, store: Store, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every record of every state is read, over pages and over equal times, also where the stream
    told nothing of it.
    """
    monkeypatch.setattr(ledger_reader, "SCAN_PAGE_SIZE", 3)
    monkeypatch.setattr(search_index, "BATCH_SIZE", 2)
    ids = store(8) + store(4, State.DEAD)
    redis.delete(keys.CHANGES)
    same = dict.fromkeys(ids[:7], 1_700_000_000.0)
    redis.zadd(keys.state(State.QUEUED), same)
    assert set(reader.ids(Filter())) == set(ids)
    assert reader.submissions(Filter()).total == 12


def test_who_fell_out_of_the_stream_reads_everything_anew(
    reader: SubmissionQueries, ledger: Ledger, store: Store, redis: redis_py.Redis
) -> None:
    """Where the entry that was read last is gone from the stream, what came between is not
    missed.
    """
    [first] = store(state=State.DEAD)
    assert list_ids(reader) == [first]
    ledger.discard(first, "kim", "")
    [second] = store()
    redis.xtrim(keys.CHANGES, maxlen=1, approximate=False)
    assert set(list_ids(reader)) == {first, second}
    assert list_ids(reader, state="discarded") == [first]


def test_an_emptied_redis_empties_the_lists(
    reader: SubmissionQueries, store: Store, redis: redis_py.Redis
) -> None:
    """After FLUSHALL nothing is shown that is not there, and what comes then is."""
    store(3)
    assert reader.submissions(Filter()).total == 3
    redis.flushall()
    assert reader.submissions(Filter()).total == 0
    [mine] = store()
    assert list_ids(reader) == [mine]


def test_a_record_that_vanished_leaves_the_lists(
    reader: SubmissionQueries, store: Store, redis: redis_py.Redis
) -> None:
    """A line whose record is gone is not shown, and counted no more."""
    first, second = store(2)
    assert reader.submissions(Filter()).total == 2
    redis.delete(keys.submission(first))
    assert list_ids(reader) == [second]
    assert reader.submissions(Filter()).total == 1


def test_erased_content_is_found_no_more(
    reader: SubmissionQueries, store: Store, redis: redis_py.Redis
) -> None:
    """Once the content is gone from the record, no search finds it and nobody's name is shown."""
    [mine] = store(
        name="Grace Canary",
        email="canary@example.com",
        company="Canary Ltd",
        utm=Utm(campaign="canary"),
    )
    assert list_ids(reader, q="canary") == [mine]
    redis.hdel(keys.submission(mine), "lead", "raw")
    redis.hset(keys.submission(mine), "state", State.ERASED)
    redis.zrem(keys.state(State.QUEUED), mine)
    redis.zadd(keys.state(State.ERASED), {mine: 1.0})
    redis.xadd(keys.CHANGES, {"id": mine})
    [item] = reader.submissions(Filter()).items
    assert (item.who, item.campaign, item.state) == ("", None, State.ERASED)
    assert list_ids(reader, q="canary") == []
    table = reader._index.peek()
    assert "canary" not in str(table.query("select * from submission")) + str(
        table.query("select * from text")
    )


def test_sealed_content_is_searched(redis: redis_py.Redis, aredis: Client, tmp_path: Path) -> None:
    """Search does not rely on what Redis can read: leads that are encrypted there are found."""
    cipher = Cipher([KEY])
    mine = structs.replace(submission(), lead=None, raw=Raw("POST", "", "text/plain", [], b""))
    asyncio.run(accept(aredis, redis, [mine]))
    sealed = cipher.encrypt(
        msgspec.msgpack.encode(Lead(name="Ada Lovelace", email="ada@example.com"))
    )
    redis.hset(keys.submission(mine.id), "lead", sealed)
    assert b"Ada" not in redis.hget(keys.submission(mine.id), "lead")  # type: ignore[operator]
    reader = SubmissionQueries(Ledger(redis, cipher), None, tmp_path)
    assert list_ids(reader, q="lovelace") == [mine.id]
    blind = SubmissionQueries(Ledger(redis, Cipher(())), None, tmp_path)
    assert list_ids(blind, q="lovelace") == []
    assert (blind.submissions(Filter()).total, blind.submission(mine.id, reveal=True).sealed) == (
        1,
        True,
    )


def test_many_ask_at_once_and_one_builds(
    reader: SubmissionQueries, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many threads ask the first question, everything is read once, and all get the whole
    answer.
    """
    store(50)
    builds: list[int] = []
    original = search_index.SearchIndex._read_everything

    def counted(self: search_index.SearchIndex) -> None:
        builds.append(1)
        original(self)

    monkeypatch.setattr(search_index.SearchIndex, "_read_everything", counted)
    with ThreadPoolExecutor(8) as pool:
        totals = list(pool.map(lambda _: reader.submissions(Filter()).total, range(16)))
    assert totals == [50] * 16
    assert len(builds) == 1


def test_while_it_loads_pages_show_what_there_is(
    reader: SubmissionQueries, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that cannot wait is told how far the index is; the newest are shown meanwhile."""
    monkeypatch.setattr(search_index, "BATCH_SIZE", 10)
    go_on, begun = threading.Event(), threading.Event()
    original = search_index.SearchIndex._read_into

    def slow(self: search_index.SearchIndex, table: Any, ids: Any) -> None:
        original(self, table, ids)
        begun.set()
        assert go_on.wait(60)

    store(30)
    newest = store(10)
    monkeypatch.setattr(search_index.SearchIndex, "_read_into", slow)
    hurried = reader.with_patience(0.0)
    with pytest.raises(Loading):
        hurried.submissions(Filter())
    assert begun.wait(60)
    page = hurried.submissions(Filter(), wait=False)
    assert {item.id for item in page.items} == set(newest)
    assert (reader.freshness().ready, reader.freshness().loaded, reader.freshness().total) == (
        False,
        10,
        40,
    )
    go_on.set()
    assert reader.submissions(Filter()).total == 40
    assert reader.freshness().ready


def test_while_redis_is_away_the_last_known_is_shown(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    """Lists say that they cannot know; what was known is there for who asks for it, and is called
    stale.
    """
    [mine] = store(state=State.DEAD, cause=LABELS)
    with connect(redis_url) as client:
        reader = SubmissionQueries(Ledger(client, Cipher(())), None, tmp_path)
        assert list_ids(reader) == [mine]
        assert reader.overview().states["dead"] == 1
        client.connection_pool = connect(f"unix://{tmp_path}/none.sock").connection_pool
        for ask in (
            lambda: reader.submissions(Filter()),
            reader.causes,
            lambda: reader.submission(mine, reveal=False),
        ):
            with pytest.raises(StoreUnavailable):
                ask()
        [item] = reader.submissions(Filter(), wait=False).items
        assert (item.id, item.who, item.cause) == (mine, "A… L…", cause_id(LABELS))
        assert reader.freshness().stale
        away = reader.overview()
        assert (away.degraded, away.states["dead"]) == (["redis", "workers"], 1)


# -- lists and searches
# --------------------------------------------------------------------------------------------


def test_pages_follow_each_other(reader: SubmissionQueries, store: Store) -> None:
    """Every match comes once, the latest change first, whatever comes in between; the total counts
    all of them.
    """
    ids = store(25)
    pages: list[str] = []
    cursor = None
    for _ in range(10):
        page = reader.submissions(Filter(), cursor=cursor, limit=4)
        pages += [item.id for item in page.items]
        store(1)
        cursor = page.next
        if cursor is None:
            break
    assert sorted(pages) == sorted(ids)
    assert len(set(pages)) == len(pages)


def test_the_pages_of_a_search_follow_each_other(
    reader: SubmissionQueries, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for a search, whether its matches are few or many."""
    ids = store(9, name="Grace Hopper")
    store(5)
    for limit_of_few in (3_000, 3):
        monkeypatch.setattr("service.ops.search_table.MAX_CACHED_MATCHES", limit_of_few)
        store(1, name="Nobody")
        pages: list[str] = []
        cursor = None
        for _ in range(10):
            page = reader.submissions(Filter(q="hopper"), cursor=cursor, limit=4)
            assert page.total == 9
            pages += [item.id for item in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert sorted(pages) == sorted(ids)


FILTERS: list[tuple[dict[str, str], set[str]]] = [
    ({}, {"ada", "grace", "dead", "other"}),
    ({"state": "dead"}, {"dead"}),
    ({"state": "dead,queued"}, {"ada", "grace", "dead", "other"}),
    ({"source": "contact"}, {"ada", "grace", "dead"}),
    ({"cause": cause_id(LABELS)}, {"dead"}),
    ({"cause": "unknown-name"}, {"dead"}),
    ({"cause": "label"}, {"dead"}),
    ({"cause": "no 'x'"}, {"dead"}),
    ({"cause": "nothing"}, set()),
    ({"q": "lovelace"}, {"ada"}),
    ({"q": "LOVE"}, {"ada"}),
    ({"q": "ada@example"}, {"ada"}),
    ({"q": "muller"}, {"grace"}),
    ({"q": "Müller acme"}, {"grace"}),
    ({"q": "müller globex"}, set()),
    ({"q": '"grace müller"'}, {"grace"}),
    ({"q": '"müller grace"'}, set()),
    ({"q": "0170 1234567"}, {"ada"}),
    ({"q": "+49 (170) 123-4567"}, {"ada"}),
    ({"q": "company:acme"}, {"grace"}),
    ({"q": "company:me"}, set()),
    ({"q": "utm_campaign:spring"}, {"ada"}),
    ({"q": 'utm_campaign:"spring sale"'}, {"ada"}),
    ({"q": "utm_campaign:sale"}, set()),
    ({"q": "source:partner"}, {"other"}),
    ({"q": "state:dead cause:unknown-name"}, {"dead"}),
    ({"q": "state:queued cause:unknown-name"}, set()),
    ({"q": "lovelace", "state": "dead"}, set()),
    ({"q": "%"}, set()),
    ({"q": "' or 1=1 --"}, set()),
    ({"q": "https://acme.example"}, set()),
]


def test_filters(reader: SubmissionQueries, store: Store) -> None:
    """Each filter, and each word of the search box, finds what it says and nothing else."""
    names = {
        store(phone="+491701234567", utm=Utm(campaign="Spring Sale"))[0]: "ada",
        store(name="Grace Müller", email="grace@x.example", company="Acme")[0]: "grace",
        store(state=State.DEAD, cause=LABELS, name="Alan", email="alan@x.example")[0]: "dead",
        store(source="partner", name="Jean", email="jean@x.example")[0]: "other",
    }
    for filter, expected in FILTERS:
        page = reader.submissions(Filter.parse(filter))
        assert {names[item.id] for item in page.items} == expected
        assert page.total == len(expected)
        assert set(reader.ids(Filter.parse(filter))) == {item.id for item in page.items}


def test_an_id_finds_its_submission(reader: SubmissionQueries, store: Store) -> None:
    """By the whole id or its end, whatever the case."""
    ids = store(3)
    assert list_ids(reader, q=ids[1]) == [ids[1]]
    assert list_ids(reader, q=ids[1].lower()[-8:]) == [ids[1]]


@pytest.mark.parametrize("cursor", ["x", "%%", "gqM", "ü", "kgEC", "AAAA"])
def test_a_cursor_that_no_page_gave_is_refused(reader: SubmissionQueries, cursor: str) -> None:
    """Rubbish is no place in a list."""
    with pytest.raises(FilterError) as error:
        reader.submissions(Filter(), cursor=cursor)
    assert error.value.field == "cursor"


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_page_has_its_bounds(reader: SubmissionQueries, limit: int) -> None:
    """One line at least, two hundred at most."""
    with pytest.raises(FilterError) as error:
        reader.submissions(Filter(), limit=limit)
    assert error.value.field == "limit"


def test_a_list_is_masked_unless_revealed(reader: SubmissionQueries, store: Store) -> None:
    """Who it is shows only on request; campaign, channel by the rule and the cause in words are for
    everybody.
    """
    store(
        state=State.DEAD, cause=LABELS, company="Acme", utm=Utm(source="google", campaign="spring")
    )
    [masked] = reader.submissions(Filter()).items
    [plain] = reader.submissions(Filter(), reveal=True).items
    assert (masked.who, plain.who) == ("A… L… · Acme", "Ada Lovelace · Acme")
    assert (masked.campaign, masked.channel) == ("spring", "Paid search")
    assert masked.cause_title == "Pipedrive is missing a label that the source file uses"


# -- causes
# --------------------------------------------------------------------------------------------------


def test_causes_are_counted(reader: SubmissionQueries, store: Store) -> None:
    """What died of the same thing is one card: how many, of which sources, since when, and what to
    mend.
    """
    store(3, State.DEAD, cause=LABELS)
    store(2, State.DEAD, cause=structs.replace(LABELS, detail="no 'Y'"), source="partner")
    store(1, State.DEAD, cause=no_contact("contact", "intake", None))
    store(1, State.DEAD)
    page = reader.causes()
    first = page.items[0]
    assert [card.count for card in page.items] == [5, 1, 1]
    assert (first.id, first.sources, first.hint, first.setting) == (
        cause_id(LABELS), ["contact", "partner"], "add it", "sources.contact.lead.labels",
    )  # fmt: skip
    assert (sum(first.trend), first.trend[-1], len(first.trend)) == (5, 5, 24)
    assert page.total == reader.overview().causes == 3
    for card in page.items:
        assert reader.submissions(Filter(cause=card.id)).total == card.count


def test_only_the_dead_count_for_a_cause(
    reader: SubmissionQueries, store: Store, ledger: Ledger
) -> None:
    """What was discarded or goes again is not counted, and the list behind the card agrees."""
    first, _ = store(2, State.DEAD, cause=LABELS)
    ledger.discard(first, "kim", "")
    [card] = reader.causes().items
    assert card.count == reader.submissions(Filter(cause=card.id)).total == 1


def test_an_ignored_cause_comes_back_by_itself(
    reader: SubmissionQueries, store: Store, ledger: Ledger
) -> None:
    """Ignored, it needs nobody; once something dies of it again it does."""
    store(1, State.DEAD, cause=LABELS)
    ignore_cause(ledger.redis, cause_id(LABELS), ledger.now())
    assert [card.ignored for card in reader.causes().items] == [True]
    assert reader.causes(ignored=False).items == []
    assert reader.overview().causes == 0
    store(1, State.DEAD, cause=LABELS)
    assert [card.ignored for card in reader.causes().items] == [False]
    assert reader.overview().causes == 1


# -- one submission
# ------------------------------------------------------------------------------------------------


def test_an_unknown_id_is_not_found(reader: SubmissionQueries) -> None:
    """There is nothing to show of what is not there."""
    with pytest.raises(NotFound):
        reader.submission("01ARZ3NDEKTSV4RRFFQ69G5FAV", reveal=True)


def test_attribution_names_what_set_it(reader: SubmissionQueries, store: Store) -> None:
    """Each value says whether a rule, the source, a default, the payload or the page's address set
    it.
    """
    [mine] = store(
        utm=Utm(source="google", campaign="spring"),
        page_url="https://x.example/?utm_campaign=spring",
    )
    attribution = reader.submission(mine, reveal=False).attribution
    assert attribution["rule"] == {"index": 0, "when": {"utm_source": "google"}}
    assert attribution["channel"] == {
        "value": "Paid search",
        "set_by": "rule 1",
        "setting": "sources.contact.rules[0].channel",
    }
    assert (attribution["channel_id"]["value"], attribution["channel_id"]["set_by"]) == (
        "spring",
        "default",
    )
    assert [(label["value"], label["set_by"]) for label in attribution["labels"]] == [
        ("Website", "source"),
        ("PPC", "rule 1"),
    ]
    assert attribution["utm"] == {
        "source": {"value": "google", "set_by": "payload"},
        "campaign": {"value": "spring", "set_by": "page_url"},
    }


def test_attribution_without_a_rule(reader: SubmissionQueries, store: Store) -> None:
    """Where no rule matches the source's settings stand; of a source that is gone from the file
    nothing is known.
    """
    [mine], [other] = store(), store(source="partner")
    attribution = reader.submission(mine, reveal=False).attribution
    assert (attribution["rule"], attribution["channel"]["set_by"]) == (None, "source")
    assert "no source" in reader.submission(other, reveal=False).attribution["error"]


def test_an_edited_lead_shows_what_came_in(
    reader: SubmissionQueries, store: Store, ledger: Ledger
) -> None:
    """What the stored bytes read to stands beside the mended lead; of one that nobody edited there
    is nothing to compare.
    """
    [mine] = store(state=State.DEAD, email="ada@wrong")
    assert reader.submission(mine, reveal=True).came_in is None
    with ledger.redis.pipeline(transaction=True) as pipe:
        ledger.replay_call(pipe, mine, "kim", "", Lead(name="Ada", email="ada@right.example"))
        pipe.execute()
    ledger.redis.hset(keys.submission(mine), "raw", a_form(b"name=Ada&email=ada%40wrong.example"))
    detail = reader.submission(mine, reveal=True)
    assert detail.edited_by == "kim"
    assert detail.lead is not None
    assert detail.came_in is not None
    assert (detail.lead["email"], detail.came_in["email"]) == (
        "ada@right.example",
        "ada@wrong.example",
    )


def a_form(body: bytes) -> bytes:
    kind = "application/x-www-form-urlencoded"
    raw = Raw("POST", "", kind, [("content-type", kind)], body)
    return Cipher(()).encrypt(msgspec.msgpack.encode(raw))


def test_a_detail_is_masked_unless_revealed(reader: SubmissionQueries, store: Store) -> None:
    """No part of the masked answer holds the person: neither lead nor bytes nor headers nor
    query.
    """
    [mine] = store(
        name="Ada Canary", email="canary@example.com", message="canary", answers={"Q": "canary"}
    )
    masked = reader.submission(mine, reveal=False)
    plain = reader.submission(mine, reveal=True)
    assert "anary" not in str(masked)
    assert masked.raw is not None
    assert (masked.raw.body_base64, masked.raw.withheld, masked.raw.size) == ("", True, 9)
    assert plain.raw is not None
    assert (plain.raw.body_base64, plain.revealed) == ("ZW1haWw9YWRh", True)
    assert [entry.state for entry in plain.timeline] == [State.QUEUED]


# -- the chart
# --------------------------------------------------------------------------------------------------


def test_the_chart_counts_by_hour(
    reader: SubmissionQueries, store: Store, ledger: Ledger, redis: redis_py.Redis
) -> None:
    """What came in stands in its hour, and a configured source that never spoke has its line."""
    now = ledger.now()
    for mine, ago in zip(store(3, source="partner"), (0, 3600, 30 * 3600), strict=True):
        redis.hset(keys.submission(mine), "received_at", str(now - ago))
    chart = reader.activity(24)
    lines = {line.source: line for line in chart.sources}
    assert list(lines) == ["contact", "partner"]
    assert (len(chart.hours), lines["partner"].received[-2:], sum(lines["partner"].received)) == (
        24,
        [1, 1],
        2,
    )
    assert sum(lines["contact"].received) == 0


def test_a_source_that_fell_silent_is_marked(
    reader: SubmissionQueries, store: Store, ledger: Ledger, redis: redis_py.Redis
) -> None:
    """One that spoke every ten minutes and not for hours is silent; one that speaks once a day is
    not, after as long.
    """
    now = ledger.now()
    for name, gap in (("busy", 600), ("daily", 12 * 3600)):
        for number, mine in enumerate(store(12, source=name)):
            redis.hset(keys.submission(mine), "received_at", str(now - 4 * 3600 - number * gap))
    assert {line.source: line.silent for line in reader.activity().sources} == {
        "busy": True,
        "contact": False,
        "daily": False,
    }
