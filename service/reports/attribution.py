"""How completely leads carry their attribution, by source and campaign. No personal data.

Shows what to fix in links, forms and rules. Counts any number of leads in bounded memory, each
under the rules of the current source file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from service.attribution import NONE, OTHERS, bounded_key
from worker.contract import Lead
from worker.lead.attribution import LeadAttribution, inspect_lead, public_name
from worker.lead.settings import LeadMapping
from worker.ledger import Record


class AttributionCounts(Struct):
    """How many leads, and how many of them carry each value.

    `complete` leads carry channel, channel_id and either UTM or a click id.
    """

    leads: int = 0
    channel: int = 0
    channel_id: int = 0
    utm: int = 0
    click_id: int = 0
    complete: int = 0

    def add(self, attribution: LeadAttribution) -> None:
        self.leads += 1
        self.channel += attribution.channel is not None
        self.channel_id += attribution.channel_id
        self.utm += attribution.utm
        self.click_id += attribution.click_id
        self.complete += (
            attribution.channel is not None
            and attribution.channel_id
            and (attribution.utm or attribution.click_id)
        )


class RuleMatches(Struct, frozen=True):
    """How many leads a rule matched. `number` counts from 1; `when` holds its conditions."""

    number: int
    when: dict[str, Any]
    leads: int


class UnmatchedOrigin(Struct, frozen=True):
    """Leads of one origin that none of the source's rules matched."""

    utm_source: str
    utm_medium: str
    leads: int


class SourceAttribution(Struct, frozen=True, kw_only=True):
    """One source. `unmatched` counts the leads that none of its `rules` matched.

    `faults` maps each reason why the source file cannot be applied to the number of leads.
    """

    source: str
    total: AttributionCounts
    campaigns: dict[str, AttributionCounts]
    rules: list[RuleMatches]
    unmatched: int
    unmatched_from: list[UnmatchedOrigin]
    faults: dict[str, int]


class AttributionReport(Struct, frozen=True):
    """`without_content` leads were erased or cannot be decrypted, and count nowhere else."""

    total: AttributionCounts
    sources: list[SourceAttribution]
    without_content: int


class AttributionCounter:
    """Counts leads one by one; `report` may be called at any time."""

    def __init__(self, mappings: Mapping[str, LeadMapping]) -> None:
        self._mappings = mappings
        self._sources: dict[str, _SourceCounter] = {}
        self._total = AttributionCounts()
        self._without_content = 0

    def add(self, record: Record) -> None:
        """Counts a stored submission that is a lead."""
        if record.lead is None:
            self._without_content += 1
            return
        mapping = self._mappings.get(record.source)
        attribution = inspect_lead(
            record.lead,
            mapping,
            record.source,
            received_at=record.received_at,
            submission_id=record.id,
        )
        self._total.add(attribution)
        self._sources.setdefault(record.source, _SourceCounter()).add(record.lead, attribution)

    def report(self) -> AttributionReport:
        shares = [one.share(name, self._mappings.get(name)) for name, one in self._sources.items()]
        return AttributionReport(
            self._total, sorted(shares, key=lambda share: -share.total.leads), self._without_content
        )


def build_report(
    records: Iterable[Record], mappings: Mapping[str, LeadMapping]
) -> AttributionReport:
    """The report over stored leads, under the mappings of their sources."""
    tally = AttributionCounter(mappings)
    for record in records:
        tally.add(record)
    return tally.report()


class _SourceCounter:
    """Counts of one source."""

    def __init__(self) -> None:
        self.total = AttributionCounts()
        self.campaigns: dict[str, AttributionCounts] = {}
        self.rules: Counter[int] = Counter()
        self.unmatched: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()

    def add(self, lead: Lead, attribution: LeadAttribution) -> None:
        self.total.add(attribution)
        self.campaigns.setdefault(
            bounded_key(attribution.campaign or NONE, self.campaigns, OTHERS),
            AttributionCounts(),
        ).add(attribution)
        if attribution.fault:
            self.faults[attribution.fault] += 1
        elif attribution.rule is None:
            origin = (
                public_name(lead.utm.source) or NONE,
                public_name(lead.utm.medium) or NONE,
            )
            self.unmatched[bounded_key(origin, self.unmatched, (OTHERS, OTHERS))] += 1
        else:
            self.rules[attribution.rule] += 1

    def share(self, name: str, mapping: LeadMapping | None) -> SourceAttribution:
        rules = mapping.rules if mapping else []
        unmatched = self.unmatched if rules else Counter[tuple[str, str]]()
        return SourceAttribution(
            source=name,
            total=self.total,
            campaigns=dict(sorted(self.campaigns.items(), key=lambda item: -item[1].leads)),
            rules=[
                RuleMatches(at + 1, dict(rule.when), self.rules[at])
                for at, rule in enumerate(rules)
            ],
            unmatched=sum(unmatched.values()),
            unmatched_from=[
                UnmatchedOrigin(*origin, leads) for origin, leads in unmatched.most_common()
            ],
            faults=dict(self.faults),
        )
