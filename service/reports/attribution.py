"""How far leads carry their attribution, by source and campaign: what to mend in links, forms and
rules. No personal data.

Over any leads, in bounded memory; each is looked at under the rules of the source file as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from msgspec import Struct, structs

from worker.contract import Lead, State
from worker.errors import Unmappable
from worker.lead.rules import apply_rules
from worker.lead.settings import SourceWriting
from worker.lead.templates import TemplateError, compile_template, context
from worker.ledger import Record

K = TypeVar("K")
LEADS = (State.QUEUED, State.DELIVERING, State.WAITING, State.DELIVERED, State.DEAD)
"""The states of what is a lead, or becomes one."""
CAMPAIGNS = 1_000
"""Campaigns of one source that are counted each by itself, and combinations that no rule matched:
strangers name them.
"""
OTHERS = "(others)"
NONE = "(none)"
LONGEST = 100


class Carried(Struct):
    """How many leads, and how many of them carry what. `complete`: channel, channel_id and either a
    campaign or a click id.
    """

    leads: int = 0
    channel: int = 0
    channel_id: int = 0
    utm: int = 0
    click_id: int = 0
    complete: int = 0

    def add(self, seen: Seen) -> None:
        self.leads += 1
        self.channel += seen.channel
        self.channel_id += seen.channel_id
        self.utm += seen.utm
        self.click_id += seen.click_id
        self.complete += seen.channel and seen.channel_id and (seen.utm or seen.click_id)


class Seen(Struct, frozen=True):
    """One lead: what it carries. `rule` counts from 0; None: none matched, or there are none."""

    channel: bool
    channel_id: bool
    utm: bool
    click_id: bool
    rule: int | None
    fault: str | None = None


class Matched(Struct, frozen=True):
    """A rule (`number` counts from 1, as people do) and how many leads it matched; `when` are its
    conditions.
    """

    number: int
    when: dict[str, Any]
    leads: int


class Unmatched(Struct, frozen=True):
    """Leads of one origin that no rule matched, where the source has rules."""

    utm_source: str
    utm_medium: str
    leads: int


class SourceShare(Struct, frozen=True, kw_only=True):
    """One source. `unmatched` counts the leads no rule matched; `rules` is empty for a source
    without any.

    `faults`: why the source file cannot be applied to some leads, and to how many.
    """

    source: str
    total: Carried
    campaigns: dict[str, Carried]
    rules: list[Matched]
    unmatched: int
    unmatched_from: list[Unmatched]
    faults: dict[str, int]


class Report(Struct, frozen=True):
    """`without_content` were erased, or cannot be opened here, and are in no other number."""

    total: Carried
    sources: list[SourceShare]
    without_content: int


class Tally:
    """Counts leads one after the other; `report` may be asked for at any time."""

    def __init__(self, writings: Mapping[str, SourceWriting]) -> None:
        self._writings = writings
        self._sources: dict[str, _Source] = {}
        self._total = Carried()
        self._without_content = 0

    def add(self, record: Record) -> None:
        """One stored submission that is a lead."""
        if record.lead is None:
            self._without_content += 1
            return
        writing = self._writings.get(record.source)
        seen = look(
            record.lead,
            writing,
            record.source,
            received_at=record.received_at,
            submission_id=record.id,
        )
        self._total.add(seen)
        self._sources.setdefault(record.source, _Source()).add(record.lead, seen)

    def report(self) -> Report:
        shares = [one.share(name, self._writings.get(name)) for name, one in self._sources.items()]
        return Report(
            self._total, sorted(shares, key=lambda share: -share.total.leads), self._without_content
        )


def report(records: Iterable[Record], writings: Mapping[str, SourceWriting]) -> Report:
    """The report over stored leads, under the settings and rules of `worker.lead.settings` by
    source.
    """
    tally = Tally(writings)
    for record in records:
        tally.add(record)
    return tally.report()


def look(
    lead: Lead,
    writing: SourceWriting | None,
    source: str,
    *,
    received_at: float,
    submission_id: str,
) -> Seen:
    """What a lead carries; without a source in the file (None) it has neither channel nor rule.
    `received_at` in Unix seconds.
    """
    utm, click_id = any(structs.astuple(lead.utm)), bool(lead.click_ids)
    if writing is None:
        return Seen(
            channel=False,
            channel_id=False,
            utm=utm,
            click_id=click_id,
            rule=None,
            fault="not in the source file",
        )
    seen = context(lead, source, submission_id, received_at)
    try:
        settings, rule = apply_rules(writing, seen)
        channel_id = compile_template(settings.channel_id).render(seen)
    except (Unmappable, TemplateError) as error:
        return Seen(
            channel=False,
            channel_id=False,
            utm=utm,
            click_id=click_id,
            rule=None,
            fault=str(error)[:LONGEST],
        )
    channel = bool((settings.channel or "").strip())
    return Seen(channel=channel, channel_id=bool(channel_id), utm=utm, click_id=click_id, rule=rule)


class _Source:
    """Counts of one source."""

    def __init__(self) -> None:
        self.total = Carried()
        self.campaigns: dict[str, Carried] = {}
        self.rules: Counter[int] = Counter()
        self.unmatched: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()

    def add(self, lead: Lead, seen: Seen) -> None:
        self.total.add(seen)
        self.campaigns.setdefault(
            _bounded(public(lead.utm.campaign), self.campaigns, OTHERS), Carried()
        ).add(seen)
        if seen.fault:
            self.faults[seen.fault] += 1
        elif seen.rule is None:
            origin = (public(lead.utm.source), public(lead.utm.medium))
            self.unmatched[_bounded(origin, self.unmatched, (OTHERS, OTHERS))] += 1
        else:
            self.rules[seen.rule] += 1

    def share(self, name: str, writing: SourceWriting | None) -> SourceShare:
        rules = writing.rules if writing else []
        unmatched = self.unmatched if rules else Counter[tuple[str, str]]()
        return SourceShare(
            source=name,
            total=self.total,
            campaigns=dict(sorted(self.campaigns.items(), key=lambda item: -item[1].leads)),
            rules=[
                Matched(at + 1, dict(rule.when), self.rules[at]) for at, rule in enumerate(rules)
            ],
            unmatched=sum(unmatched.values()),
            unmatched_from=[Unmatched(*origin, leads) for origin, leads in unmatched.most_common()],
            faults=dict(self.faults),
        )


def public(text: str | None) -> str:
    """A campaign's words, without the address that a careless link may hold."""
    if not text or not text.strip():
        return NONE
    return "(an address)" if "@" in text else " ".join(text.split())[:LONGEST]


def _bounded(key: K, known: Mapping[K, Any], others: K) -> K:
    return key if key in known or len(known) < CAMPAIGNS else others
