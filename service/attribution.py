"""Where leads come from and what became of them: one list behind command, API and console.

    rows of delivered leads ─┐
    other stored leads ──────┴─> received, delivered, and what they carry
    outcomes as last read ─────> open, archived, converted, won, lost, and the value that was won

Counted by source, campaign and channel. No personal data.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeVar

from msgspec import Struct, field

from worker.contract import State
from worker.lead.settings import LeadMapping
from worker.ledger import Ledger, Record
from worker.ledger.attribution_rows import AttributionRow, AttributionRows
from worker.pipedrive.lead_outcomes import DEAL_KINDS, LeadOutcome, OutcomeKind, each_outcome

K = TypeVar("K")
# The states of submissions that are leads or will be.
LEAD_STATES = (State.QUEUED, State.DELIVERING, State.WAITING, State.DELIVERED, State.DEAD)
# Campaigns of one source that are counted separately: strangers choose their names.
MAX_CAMPAIGNS = 1_000
OTHERS = "(others)"
# In tables, for what a lead does not have.
NONE = "(none)"


class OutcomeCounts(Struct, frozen=True, kw_only=True):
    """What became of the leads that we created, as Pipedrive was last read.

    `converted` counts every lead that is a deal now; `won` and `lost` are among them. `won_value`
    is the sum of the won deals by currency.
    """

    open: int = 0
    archived: int = 0
    converted: int = 0
    won: int = 0
    lost: int = 0
    won_value: dict[str, float] = field(default_factory=dict)


class CampaignItem(Struct, frozen=True, kw_only=True):
    """The leads of one source, campaign and channel; `campaign` and `channel` may be None.

    `received` counts submissions that are leads; `delivered` those in Pipedrive, also those that
    labelled another's lead and have no outcome. `with_…` counts those that carry it;
    `with_first_touch` is 0, because first touches are not recorded.
    """

    source: str
    campaign: str | None
    channel: str | None
    received: int
    delivered: int
    with_channel: int
    with_utm: int
    with_click_id: int
    with_first_touch: int
    outcomes: OutcomeCounts


class _Group:
    """Counts of one item."""

    def __init__(self) -> None:
        self.received = self.delivered = self.channel = self.utm = self.click_id = 0
        self.outcomes = dict.fromkeys(OutcomeKind, 0)
        self.won_values: list[dict[str, float]] = []

    def add(self, row: AttributionRow, *, delivered: bool) -> None:
        self.received += 1
        self.delivered += delivered
        self.channel += row.channel is not None
        self.utm += row.utm
        self.click_id += row.click_id

    def add_outcome(self, outcome: LeadOutcome) -> None:
        self.outcomes[outcome.kind] += 1
        if outcome.kind is OutcomeKind.WON and outcome.currency:
            self.won_values.append({outcome.currency: outcome.amount})

    def item(self, source: str, campaign: str | None, channel: str | None) -> CampaignItem:
        counts = self.outcomes
        return CampaignItem(
            source=source,
            campaign=campaign,
            channel=channel,
            received=self.received,
            delivered=self.delivered,
            with_channel=self.channel,
            with_utm=self.utm,
            with_click_id=self.click_id,
            with_first_touch=0,
            outcomes=OutcomeCounts(
                open=counts[OutcomeKind.OPEN],
                archived=counts[OutcomeKind.ARCHIVED],
                converted=sum(counts[kind] for kind in DEAL_KINDS),
                won=counts[OutcomeKind.WON],
                lost=counts[OutcomeKind.LOST],
                won_value=add_values(self.won_values),
            ),
        )


def add_values(values: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sums of money by currency."""
    sums: dict[str, Decimal] = {}
    for each in values:
        for currency, amount in each.items():
            # A sum of floats would end in 0.30000000000000004.
            sums[currency] = sums.get(currency, Decimal(0)) + Decimal(str(amount))
    return {currency: float(total) for currency, total in sorted(sums.items())}


def format_won_value(items: Iterable[CampaignItem]) -> str:
    """The won value of all items, by currency: `48,500.00 EUR, 1,200.00 USD`."""
    values = add_values(item.outcomes.won_value for item in items)
    return ", ".join(f"{amount:,.2f} {currency}" for currency, amount in values.items())


def read_campaigns(
    ledger: Ledger,
    mappings: Mapping[str, LeadMapping],
    *,
    source: str | None = None,
    since: float = 0.0,
    progress: Callable[[Iterator[Any]], Iterable[Any]] = lambda items: items,
) -> list[CampaignItem]:
    """The items of all leads received at `since` (Unix seconds) or later, the largest first.

    A delivered lead counts as when its row was made, any other one under the present `mappings`.
    `progress` wraps what is counted. Raises `StoreUnavailable`.
    """
    rows = AttributionRows(ledger, mappings)
    groups: dict[tuple[str, str | None, str | None], _Group] = {}
    campaigns: dict[str, set[str | None]] = {}
    by_id: dict[str, _Group | None] = {}
    for submission_id, row, delivered in progress(_each_row(ledger, rows)):
        if submission_id in by_id:
            continue
        if row.received_at < since or source not in (None, row.source):
            by_id[submission_id] = None
            continue
        counted = campaigns.setdefault(row.source, set())
        campaign = bounded_key(row.campaign, counted, OTHERS)
        counted.add(campaign)
        key = row.source, campaign, row.channel
        group = groups.get(key) or groups.setdefault(key, _Group())
        group.add(row, delivered=delivered)
        by_id[submission_id] = group
    for submission_id, outcome in each_outcome(ledger.redis, ledger.account):
        if (created := by_id.get(submission_id)) is not None:
            created.add_outcome(outcome)
    items = [group.item(*key) for key, group in groups.items()]
    return sorted(
        items,
        key=lambda item: (-item.received, item.source, item.campaign or "", item.channel or ""),
    )


def _each_row(ledger: Ledger, rows: AttributionRows) -> Iterator[tuple[str, AttributionRow, bool]]:
    """Every lead's id, row, and whether it is delivered; possibly more than once.

    Those with a stored row come first, and of those only the rows are read.
    """
    stored: set[str] = set()
    for submission_id, row in rows.each():
        stored.add(submission_id)
        yield submission_id, row, True
    others = (each for each in ledger.scan(LEAD_STATES) if each not in stored)
    for record in ledger.each_record(others, raw=False):
        if record.state in LEAD_STATES and record.fetch is None and _has_content(record):
            yield record.id, rows.build(record), record.state is State.DELIVERED


def _has_content(record: Record) -> bool:
    return record.lead is not None or record.unreadable


def bounded_key(key: K, counted: Collection[K], others: K) -> K:
    """The key itself, or `others` once there are as many as are counted separately."""
    return key if key in counted or len(counted) < MAX_CAMPAIGNS else others
