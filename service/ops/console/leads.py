"""`GET /ops/leads` and `GET /ops/leads/{id}`: the list, with a lead open beside it or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from service.ops.console import rendering
from service.ops.console.lead import LeadView
from service.ops.console.page import Site
from service.ops.console.request import View, Visit
from service.ops.console.urls import TOUCHABLE, WAY, Place
from service.ops.filters import Filter
from service.ops.queries import Loading
from service.ops.schemas import CauseCard, Item, Page
from worker.contract import State
from worker.errors import StoreUnavailable
from worker.ledger.bulk import ACTIONS

LIMIT = 50
STATES = (
    (TOUCHABLE, "Needs you or in quarantine"),
    (State.DEAD.value, "Needs you: dead"),
    (WAY, "On its way"),
)
"""Choices of several states, before each state for itself."""

LABELS = {"retry": "Retry", "accept": "Accept", "discard": "Discard"}


class Chip(Struct, frozen=True):
    """A filter in force, and the list without it."""

    label: str
    href: str


class Drop(Struct, frozen=True):
    """A list with fewer of the filters, and how much is in it."""

    label: str
    href: str
    count: int


class Empty(Struct, frozen=True, kw_only=True):
    """Why a list is empty: `never` anything came, `none` in this state now, or nothing
    `matches`.
    """

    kind: str
    title: str = ""
    drops: list[Drop] = []


class BulkLink(Struct, frozen=True):
    action: str
    label: str
    href: str


class ListPage:
    """With `lead`, also the page of one lead: the same list beside it."""

    def __init__(self, site: Site, lead: LeadView) -> None:
        self._site = site
        self._lead = lead

    def __call__(self, seen: Visit) -> View:
        """Raises `FilterError`, `StoreUnavailable`, HttpProblem 404."""
        place = Place.read(seen.query, seen.path.get("id"))
        return View(
            template="list.html",
            values=self.beside(seen, place, self._lead(seen, place) if place.id else {}),
        )

    def beside(self, seen: Visit, place: Place, opened: dict[str, Any]) -> dict[str, Any]:
        """The list's values, and those of a lead that is open beside it."""
        return self._list(seen, place) | {"detail": None} | opened

    def _list(self, seen: Visit, place: Place) -> dict[str, Any]:
        page = self._page(place.filter, place.cursor, LIMIT)
        cards = self._cards()
        sources = list(self._site.context.sources.sources)
        wanted = place.filter
        return {
            "query": {name: value or "" for name, value in structs.asdict(wanted).items()},
            "heading": _heading(wanted),
            "page": page,
            "limit": LIMIT,
            "one_state": bool(wanted.state) and "," not in (wanted.state or ""),
            "open_states": (
                wanted.state
                in (
                    TOUCHABLE,
                    State.DEAD,
                    State.QUARANTINED,
                    WAY,
                    State.WAITING,
                    State.QUEUED,
                )
            ),
            "state_options": _states(wanted),
            "source_options": _options(
                "any source", {name: name for name in sources}, wanted.source
            ),
            "cause_options": _options(
                "any cause",
                {card.id: f"{card.title} ({card.count})" for card in cards},
                wanted.cause,
            ),
            "chips": _chips(place, cards),
            "bulk_links": self._bulk_links(place, page) if seen.me.acts else [],
            "picked_actions": [(action, LABELS[action]) for action in ACTIONS],
            "row_actions": row_actions,
            "who_of": who_of,
            "detail_href": lambda id: structs.replace(place, tab=None).opened(id),
            "export_href": place.export,
            "first_href": place.from_(None) if place.cursor else None,
            "next_href": place.from_(page.next) if page.next else None,
            "empty": self._empty(place, page),
            "samples": self._site.samples(),
        }

    def _page(self, wanted: Filter, cursor: str | None = None, limit: int = 1) -> Page[Item]:
        """With every change so far; while that cannot be had, as far as it is known. The top line
        says which.

        Raises `FilterError`, and `StoreUnavailable` where nothing is known.
        """
        try:
            return self._site.reader.submissions(wanted, cursor=cursor, limit=limit)
        except StoreUnavailable as error:
            if self._site.reader.freshness().as_of is None and not isinstance(error, Loading):
                raise  # Nothing was ever read: an empty list would say that nothing ever came.
            return self._site.reader.submissions(wanted, cursor=cursor, limit=limit, wait=False)

    def _cards(self) -> list[CauseCard]:
        try:
            return self._site.reader.known_causes()
        except StoreUnavailable:
            return []

    def _empty(self, place: Place, page: Page[Item]) -> Empty | None:
        if page.items:
            return None
        wanted = place.filter
        if self._page(Filter()).total == 0:
            return Empty(kind="never")
        if wanted.parameters().keys() <= {"state"}:
            return Empty(kind="none", title=f"{_heading(wanted)}: none now")
        return Empty(kind="matches", drops=self._without_one(place) or self._with_one(place))

    def _bulk_links(self, place: Place, page: Page[Item]) -> list[BulkLink]:
        """What may be done to all that match; nothing without a filter, since all is too much to
        mean.
        """
        if place.filter.empty or not place.filter.state:
            return []
        asked = place.filter.state.split(",")
        found = []
        for action, states in ACTIONS.items():
            fit = [state for state in asked if state in states]
            count = (
                page.total
                if fit == asked
                else self._total(place.filter, state=",".join(fit))
                if fit
                else 0
            )
            if count:
                found.append(
                    BulkLink(
                        action,
                        f"{LABELS[action]} all {rendering.number(count)}",
                        place.bulk(action),
                    )
                )
        return found

    def _without_one(self, place: Place) -> list[Drop]:
        """What there would be without each of the filters, the most first."""
        titles = self._titles()
        drops = [
            Drop(
                f"Drop {_filter_label(name, value, titles)}",
                place.without(name),
                self._total(place.filter, **{name: None}),
            )
            for name, value in place.filter.parameters().items()
        ]
        return sorted((drop for drop in drops if drop.count), key=lambda drop: -drop.count)

    def _with_one(self, place: Place) -> list[Drop]:
        """Where no single one is at fault: what there is for each alone."""
        titles, names = self._titles(), place.filter.parameters()
        alone = {name: Filter(**{name: value}) for name, value in names.items()}
        drops = [
            Drop(
                f"Only {_filter_label(name, names[name], titles)}",
                Place(filter=filter).list,
                self._total(filter),
            )
            for name, filter in alone.items()
        ]
        return [drop for drop in drops if drop.count]

    def _total(self, wanted: Filter, **changed: str | None) -> int:
        return self._page(structs.replace(wanted, **changed)).total

    def _titles(self) -> dict[str, str]:
        return {card.id: card.title for card in self._cards()}


def _states(wanted: Filter) -> list[tuple[str, str]]:
    """The choice of states, with the one in force whatever it is."""
    options = [
        ("", "any state"),
        *STATES,
        *((each.value, rendering.STATES[each]) for each in State if each is not State.DEAD),
    ]
    if wanted.state and wanted.state not in dict(options):
        options.append((wanted.state, wanted.state.replace(",", ", ")))
    return options


def row_actions(item: Item) -> list[tuple[str, str]]:
    """What may be done to it from its line."""
    return [(action, LABELS[action]) for action, states in ACTIONS.items() if item.state in states]


def who_of(item: Item) -> tuple[str, str]:
    """Person and company, or the end of the id where nobody is named."""
    person, _, company = item.who.partition(" · ")
    return (person or f"nobody named, {item.id[-6:]}"), company


def _heading(wanted: Filter) -> str:
    if wanted.state == State.QUARANTINED:
        return "Quarantine"
    if wanted.state == State.DEAD:
        return "Leads that need you"
    known = dict(STATES) | {state.value: rendering.STATES[state] for state in State} | {"": "Leads"}
    return known.get(wanted.state or "", "Leads")


def _options(first: str, values: Mapping[str, str], wanted: str | None) -> list[tuple[str, str]]:
    found = [("", first), *values.items()]
    return found if not wanted or wanted in values else [*found, (wanted, wanted)]


def _chips(place: Place, cards: list[CauseCard]) -> list[Chip]:
    """None for a state alone: the choice of states says the same."""
    if place.filter.parameters().keys() <= {"state"}:
        return []
    titles = {card.id: card.title for card in cards}
    return [
        Chip(_filter_label(name, value, titles), place.without(name))
        for name, value in place.filter.parameters().items()
    ]


def _filter_label(name: str, value: str, titles: Mapping[str, str]) -> str:
    if name == "state":
        named = dict(STATES) | {state.value: rendering.STATES[state] for state in State}
        return f"state: {named.get(value, value.replace(',', ', '))}"
    return f"text: {value}" if name == "q" else f"{name}: {titles.get(value, value)}"
