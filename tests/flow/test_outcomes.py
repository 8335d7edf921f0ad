"""What became of delivered leads, read from the sandbox and shown by command, API and console."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from service.attribution import CampaignItem, read_campaigns
from service.cli.main import main
from tests.flow.conftest import TOKEN, Account, Pipeline
from worker.contract import State, Utm
from worker.erasure.erasure import erase
from worker.erasure.retention import RetentionSweep
from worker.lead.settings import LeadMapping
from worker.ledger.attribution_rows import AttributionRows
from worker.pipedrive import lead_outcomes
from worker.pipedrive.lead_outcomes import OutcomeReader, ReadProgress, last_outcome_read

HEADERS = {"x-api-token": TOKEN}
DAY = 86_400.0


class Sales:
    """What people do with leads in Pipedrive, and the reader of what became of them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.account = pipeline.account
        self.mappings = {"contact": LeadMapping("contact", pipeline.lead_settings)}
        self.rows = AttributionRows(pipeline.ledger, self.mappings)

    def deliver(self, count: int, campaign: str | None = "spring", prefix: str = "p") -> list[str]:
        """Delivers leads of a campaign, each of a person of their own; returns the leads' ids."""
        delivery = self.pipeline.delivery()
        records = [
            self.pipeline.deliver(
                self.pipeline.accept(
                    name=f"{campaign} {number}",
                    email=f"{prefix}{number}.{campaign}@example.com",
                    utm=Utm(campaign=campaign),
                ),
                delivery,
            )
            for number in range(count)
        ]
        return [record.lead_id or "" for record in records]

    def convert(self, lead_id: str, **changes: Any) -> None:
        self.account.http.post(
            f"/api/v2/leads/{lead_id}/convert/deal", json={}, headers=HEADERS
        ).raise_for_status()
        if changes:
            [deal, *_] = self.account.http.get(
                "/api/v2/deals", params={"sort_direction": "desc", "limit": 1}, headers=HEADERS
            ).json()["data"]
            self.account.http.patch(
                f"/api/v2/deals/{deal['id']}", json=changes, headers=HEADERS
            ).raise_for_status()

    def add(self, origin_id: str | None) -> str:
        """A lead that somebody else adds; returns its id."""
        body = {
            "title": "x",
            "person_id": self.account.persons[0]["id"],
            "origin_id": origin_id,
        }
        answer = self.account.http.post("/v1/leads", json=body, headers=HEADERS)
        return str(answer.raise_for_status().json()["data"]["id"])

    def archive(self, lead_id: str) -> None:
        self.account.http.patch(
            f"/v1/leads/{lead_id}", json={"is_archived": True}, headers=HEADERS
        ).raise_for_status()

    def reader(self, daily_tokens: int | None = None, zone: tzinfo = UTC) -> OutcomeReader:
        """The reader of a worker process."""
        return OutcomeReader(
            self.pipeline.redis,
            self.pipeline.build_context()[1].new_client(),
            self.rows,
            daily_tokens=daily_tokens,
            time_zone=lambda: zone,
            clock=self.pipeline.clock,
            pause=lambda _: None,
        )

    def items(self, **options: Any) -> dict[str | None, CampaignItem]:
        """By campaign."""
        items = read_campaigns(self.pipeline.ledger, self.mappings, **options)
        assert len({item.campaign for item in items}) == len(items)
        return {item.campaign: item for item in items}


@pytest.fixture
def sales(pipeline: Pipeline) -> Sales:
    return Sales(pipeline)


@pytest.fixture
def run(tmp_path: Path, redis_url: str, account: Account) -> Callable[..., Result]:
    """Runs `leadline attribution`."""
    config = tmp_path / "leadline.toml"
    config.write_text('[sources.contact.lead]\nchannel = "Web forms"\n', "utf-8")
    env = {
        "LEADLINE_CONFIG": str(config),
        "LEADLINE_DATA_DIR": str(tmp_path / "data"),
        "REDIS_URL": redis_url,
        "PIPEDRIVE_API_TOKEN": TOKEN,
        "PIPEDRIVE_BASE_URL": account.url,
        "PIPEDRIVE_PLAN": "lite",
    }

    def go(*words: str, **changes: str) -> Result:
        return CliRunner().invoke(main, ["attribution", *words], env=env | changes)

    return go


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead_outcomes, "MAX_PAGE_SIZE", 8)
    monkeypatch.setattr(lead_outcomes, "OVERLAP", 2)


def sell(sales: Sales, campaign: str, count: int) -> None:
    """Of `count` leads, three tenths become deals, and a tenth is won, at 100.10 EUR each."""
    leads = sales.deliver(count, campaign)
    for number, lead in enumerate(leads[: count * 3 // 10]):
        if number < count // 10:
            sales.convert(lead, status="won", value=100.1, currency="EUR")
        else:
            sales.convert(lead)


@pytest.mark.usefixtures("small_pages")
def test_what_became_of_the_leads(sales: Sales, run: Callable[..., Result]) -> None:
    """Says exactly what became of each campaign's leads, and what it cost to read."""
    campaigns = ["spring", "summer", "autumn", "winter", "brand"]
    for campaign in campaigns:
        sell(sales, campaign, 10)
    before = sales.account.tokens()
    result = run("--outcomes", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert list(document) == ["items"]
    assert {item["campaign"]: item for item in document["items"]} == {
        campaign: {
            "source": "contact",
            "campaign": campaign,
            "channel": "Web forms",
            "received": 10,
            "delivered": 10,
            "with_channel": 10,
            "with_utm": 10,
            "with_click_id": 0,
            "with_first_touch": 0,
            "outcomes": {
                "open": 7,
                "archived": 0,
                "converted": 3,
                "won": 1,
                "lost": 0,
                "won_value": {"EUR": 100.1},
            },
        }
        for campaign in campaigns
    }
    spent = sales.account.tokens() - before
    assert f"for {spent} tokens" in result.stderr
    # Five pages of 35 leads with an overlap of two, and two of 15 deals; the archives are empty.
    assert spent == 6 * 20 + 40 + 2 * 10 + 20
    table = run("--outcomes").stdout
    assert "500.50 EUR" in table
    assert sales.account.tokens() - before == spent


def test_every_outcome(sales: Sales) -> None:
    """Open, archived, converted, won, lost and deleted; archived deals too, and by currency."""
    leads = sales.deliver(8)
    sales.archive(leads[1])
    sales.convert(leads[2])
    sales.convert(leads[3], status="won", value=0.1, currency="EUR")
    sales.convert(leads[4], status="won", value=0.2, currency="EUR", is_archived=True)
    sales.convert(leads[5], status="won", value=7, currency="USD")
    sales.convert(leads[6], status="lost", value=99, currency="EUR", is_archived=True)
    sales.account.http.delete(f"/v1/leads/{leads[7]}", headers=HEADERS).raise_for_status()
    sales.pipeline.accept_and_deliver(  # labels the first lead, and is none of its own
        name="spring 0", email="p0.spring@example.com", utm=Utm(campaign="spring")
    )
    read = sales.reader().read_now()
    assert read is not None
    assert (read.calls, read.tokens) == (4, 90)
    item = sales.items()["spring"]
    assert (item.received, item.delivered) == (9, 9)
    counts = item.outcomes
    assert (counts.open, counts.archived, counts.converted) == (1, 1, 5)
    assert (counts.won, counts.lost) == (3, 1)
    assert counts.won_value == {"EUR": 0.3, "USD": 7.0}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("gone", [1, 5, 12])
def test_leads_that_are_converted_while_they_are_read(sales: Sales, gone: int) -> None:
    """However many leads leave the list between two pages, none behind them is passed over."""
    leads = sales.deliver(20)
    reader = sales.reader()
    while (state := reader.step()) is ReadProgress.GOES_ON:
        # Three quarters of the first page are behind us.
        if sales.account.calls("leads.list") == ["leads.list"] * 2:
            for lead in leads[:gone]:
                if lead in {each["id"] for each in sales.account.leads}:
                    sales.convert(lead)
    assert state is ReadProgress.ENDED
    counts = sales.items()["spring"].outcomes
    assert (counts.open, counts.converted) == (20 - gone, gone)


def test_the_last_result_stays_until_the_next_is_complete(sales: Sales) -> None:
    """A read that goes on changes no figure; its end changes all of them at once."""
    leads = sales.deliver(3)
    reader = sales.reader()
    reader.read_now()
    for lead in leads:
        sales.convert(lead, status="won", value=1, currency="EUR")
    before = last_outcome_read(sales.pipeline.redis)
    while reader.step() is ReadProgress.GOES_ON:
        assert sales.items()["spring"].outcomes.open == 3
        assert last_outcome_read(sales.pipeline.redis) == before
    assert sales.items()["spring"].outcomes.won == 3


def test_outcomes_outlive_the_content(sales: Sales) -> None:
    """After the retention, leads keep source, campaign and channel, and may still be won."""
    leads = sales.deliver(3)
    sales.deliver(1, campaign=None)
    ledger = sales.pipeline.ledger
    sweep = RetentionSweep(
        ledger, {State.DELIVERED: DAY}, sales.pipeline.clock, before_erasing=sales.rows.add
    )
    for _ in range(2):  # erased, then even its receipt is gone
        sales.pipeline.advance(20 * DAY)
        sweep.run(sales.pipeline.clock())
    assert list(ledger.each_id()) == []
    sales.convert(leads[0], status="won", value=5, currency="EUR")
    sales.reader().read_now()
    items = sales.items()
    assert {name: item.delivered for name, item in items.items()} == {"spring": 3, None: 1}
    assert items["spring"].outcomes.won_value == {"EUR": 5.0}
    assert items["spring"].channel == "Web forms"
    sales.pipeline.advance(400 * DAY)
    sales.reader().read_now()
    assert sales.items() == {}


def test_an_erased_person_leaves_no_row(sales: Sales) -> None:
    """Once a person is erased, nothing leads from the figures to the person's lead."""
    sales.deliver(2)
    sales.reader().read_now()
    assert sales.items()["spring"].outcomes.open == 2
    erase(sales.pipeline.ledger, ("email", "p0.spring@example.com"), "olga")
    item = sales.items()["spring"]
    assert (item.delivered, item.outcomes.open) == (1, 1)
    sales.reader().read_now()
    assert sales.items() == {"spring": item}


def test_strangers_leads_do_not_count(sales: Sales) -> None:
    """Only leads that we delivered count and are stored, whatever `origin_id` others write."""
    sales.deliver(1)
    for origin in ("contact:01K9ZJ4M7T3B8XQ2V6N5R0C1DF", "leadline-test:ab12", None):
        sales.add(origin)
    sales.reader().read_now()
    assert sales.items()["spring"].outcomes.open == 1
    assert sales.pipeline.redis.hlen(sales.pipeline.ledger.account.outcomes) == 1


def test_a_deal_and_its_copy(sales: Sales) -> None:
    """Of two deals with the `origin_id` of one lead, the older one counts, and once."""
    [lead] = sales.deliver(1)
    copies = [sales.add(sales.account.leads[0]["origin_id"]) for _ in range(2)]
    sales.convert(lead, status="won", value=3, currency="EUR")
    sales.convert(copies[0])
    sales.convert(copies[1], status="lost", is_archived=True)
    sales.reader().read_now()
    counts = sales.items()["spring"].outcomes
    assert (counts.converted, counts.won, counts.lost) == (1, 1, 0)


@pytest.mark.parametrize(
    ("daily_tokens", "left", "spent", "steps"),
    [
        (20_000, 20_000, 0, ["goes_on"] * 4 + ["ended"]),
        # A twentieth of the day's tokens: a page of leads for 20 and one of the archive for 40.
        (20_000, 20_000, 940, ["goes_on", "goes_on", "goes_on", "no_share"]),
        # A quarter of the day's tokens is left to deliveries.
        (20_000, 5_030, 0, ["goes_on", "goes_on", "no_share"]),
        # However small the budget, the shortest read fits.
        (400, 400, 0, ["goes_on"] * 4 + ["ended"]),
        (None, 0, 0, ["goes_on"] * 4 + ["ended"]),
    ],
)
def test_deliveries_come_first(
    sales: Sales, daily_tokens: int | None, left: int, spent: int, steps: list[str]
) -> None:
    """A read spends its share of the day's tokens at most, and goes on the next day."""
    sales.deliver(1)
    redis, account = sales.pipeline.redis, sales.pipeline.ledger.account
    redis.set(account.allowance("left"), left)
    day = int(sales.pipeline.clock() // DAY)
    redis.hset(account.outcomes_state, "spent", json.dumps([day, spent]))
    reader = sales.reader(daily_tokens)
    results: list[ReadProgress] = []
    while not results or results[-1] is ReadProgress.GOES_ON:
        results.append(reader.step())
    assert [str(result) for result in results] == steps
    redis.delete(account.allowance("left"))
    sales.pipeline.advance(DAY)
    while results[-1] is not ReadProgress.ENDED:
        results.append(reader.step())
    assert sales.account.calls("leads.list") == ["leads.list"]
    assert sales.items()["spring"].outcomes.open == 1


@pytest.mark.usefixtures("small_pages")
def test_a_cursor_that_is_refused(sales: Sales) -> None:
    """A list whose cursor Pipedrive no longer takes is read from its beginning."""
    for lead in sales.deliver(10):
        sales.convert(lead)
    sales.account.fault(
        {"operation": "deals.list", "after": 1, "count": 1}, {"kind": "answer", "status": 400}
    )
    read = sales.reader().read_now()
    assert read is not None
    assert sales.account.calls("deals.list") == ["deals.list"] * 4
    assert sales.items()["spring"].outcomes.converted == 10


def test_a_pause_holds_for_reads(sales: Sales) -> None:
    """While delivery is paused no page is read; a read that has begun goes on afterwards."""
    sales.deliver(1)
    reader = sales.reader()
    while not sales.account.calls("leads.list"):
        reader.step()
    gate = sales.pipeline.ledger.gate
    gate.pause("moving house", "olga")
    for _ in range(20):
        reader.tick()
        sales.pipeline.advance(400)
    assert sales.account.calls("leads.archived") == []
    gate.resume("olga")
    for _ in range(20):
        reader.tick()
        sales.pipeline.advance(10)
    assert last_outcome_read(sales.pipeline.redis) is not None


@pytest.mark.parametrize(
    ("zone", "hours", "expected"),
    [
        ("UTC", 12, 0),  # the first lead is not a day old
        ("UTC", 24 + 2.5, 1),
        ("UTC", 24 + 12, 0),
        ("Asia/Tokyo", 24 + 17.5, 1),  # half past two in the night there
        ("Asia/Tokyo", 24 + 2.5, 0),
    ],
)
def test_a_read_begins_at_night(sales: Sales, zone: str, hours: float, expected: int) -> None:
    """Workers read by themselves at a quiet hour of the account, once a night, one at a time."""
    sales.pipeline.frozen_at = datetime(2027, 3, 1, tzinfo=UTC).timestamp()
    sales.deliver(2)
    sales.pipeline.advance(hours * 3600)
    readers = [sales.reader(zone=ZoneInfo(zone)) for _ in range(3)]
    for _ in range(30):
        for reader in readers:
            reader.tick()
        sales.pipeline.advance(10)
    assert len(sales.account.calls("leads.list")) == expected
    assert (last_outcome_read(sales.pipeline.redis) is not None) is bool(expected)
