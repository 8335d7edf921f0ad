"""`GET /ops/leads` and `GET /ops/leads/{id}`: the list, alone or with a lead open beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from service.ops.console import rendering
from service.ops.console.console_request import ConsoleRequest, View
from service.ops.console.lead import LeadPanel
from service.ops.console.page import Console
from service.ops.console.urls import ACTIONABLE, IN_PROGRESS, ListLocation
from service.ops.filters import PARAMETERS, Filter
from service.ops.queries import Loading
from service.ops.schemas import CauseCard, Item, Page
from worker.contract import STATES, State
from worker.errors import StoreUnavailable
from worker.ledger.bulk import ACTIONS

PAGE_SIZE = 50

# Characters of an id, by which leads without a name are told apart.
SHORT_ID_CHARS = 6

ACTION_LABELS = {"retry": "Retry", "accept": "Accept", "discard": "Discard"}

# Choices of the state filter that stand before the single states.
STATE_CHOICES = (
    (ACTIONABLE, "Needs you or quarantined"),
    (State.DEAD.value, "Needs you"),
    (IN_PROGRESS, "In progress"),
)
STATE_LABELS = {state.value: STATES[state].label for state in State} | dict(STATE_CHOICES)

HEADINGS = STATE_LABELS | {
    "": "Leads",
    State.DEAD.value: "Leads that need you",
    State.QUARANTINED.value: "Quarantine",
}

# What an empty list says, by its state filter.
NOTHING = {state.value: f"Nothing {state.value}" for state in State} | {
    ACTIONABLE: "Nothing needs you",
    State.DEAD.value: "No leads need you",
    State.QUARANTINED.value: "Nothing in quarantine",
    IN_PROGRESS: "Nothing in progress",
    State.DELIVERING.value: "Nothing being delivered",
}

# Filters under which the time of the last change is how long a lead has been waiting.
WAITING_FILTERS = frozenset(
    {ACTIONABLE, IN_PROGRESS, State.DEAD, State.QUARANTINED, State.WAITING, State.QUEUED}
)


class FilterChip(Struct, frozen=True):
    """An active filter, and the list without it."""

    label: str
    url: str


class FilterSuggestion(Struct, frozen=True):
    """A list with fewer filters, and how many leads are in it."""

    label: str
    url: str
    count: str


class EmptyList(Struct, frozen=True, kw_only=True):
    """Why a list is empty.

    `kind` is `never` (nothing has come in), `none` (nothing in this state) or `matches` (nothing
    matches the filters).
    """

    kind: str
    title: str = ""
    suggestions: list[FilterSuggestion] = []


class BulkLink(Struct, frozen=True):
    action: str
    label: str
    url: str


class LeadsPage:
    """The list of leads; `panel` builds the lead that is open beside it."""

    def __init__(self, console: Console, panel: LeadPanel) -> None:
        self._console = console
        self._panel = panel

    def __call__(self, request: ConsoleRequest) -> View:
        """Raises `FilterError`, `StoreUnavailable`, HttpProblem 404."""
        location = ListLocation.parse(request.query, request.path.get("id"))
        if not request.user.is_operator:
            location = structs.replace(location, filter=location.filter.masked())
            if location.filter.q:
                self._console.actions.record_search(location.filter, request.user.name)
        panel = self._panel(request, location) if location.id else {}
        return View(template="leads.html", values=self.build_values(request, location, panel))

    def build_values(
        self, request: ConsoleRequest, location: ListLocation, panel: dict[str, Any]
    ) -> dict[str, Any]:
        """The values of `leads.html`: the list's, and those of the lead that is open beside it."""
        return self._list_values(request, location) | {"detail": None} | panel

    def _list_values(self, request: ConsoleRequest, location: ListLocation) -> dict[str, Any]:
        filter = location.filter
        page = self._page(filter, location.cursor, PAGE_SIZE)
        cards = self._cause_cards()
        sources = {name: name for name in self._console.context.sources.sources}
        causes = {card.id: f"{card.title} ({card.count})" for card in cards}
        return {
            "filter": {name: getattr(filter, name) or "" for name in PARAMETERS},
            "heading": HEADINGS.get(filter.state or "", "Leads"),
            "page": page,
            "one_state": bool(filter.state) and "," not in (filter.state or ""),
            "is_waiting": filter.state in WAITING_FILTERS,
            "state_options": _state_options(filter),
            "source_options": _options("any source", sources, filter.source),
            "cause_options": _options("any cause", causes, filter.cause),
            "chips": _chips(location, cards),
            "bulk_links": self._bulk_links(location, page) if request.user.is_operator else [],
            "selected_actions": [(action, ACTION_LABELS[action]) for action in ACTIONS],
            "row_actions": row_actions,
            "split_who": split_who,
            "lead_url": lambda id: structs.replace(location, tab=None).lead_url(id),
            "export_url": location.export_url,
            "first_url": location.url_at(None) if location.cursor else None,
            "next_url": location.url_at(page.next) if page.next else None,
            "empty": self._empty_list(location, page),
            "sample_commands": self._console.sample_commands(),
            "has_sources": bool(sources),
        }

    def _page(self, filter: Filter, cursor: str | None = None, limit: int = 1) -> Page[Item]:
        """A page of the list: up to date or, failing that, as last read; the status bar says so.

        Raises `FilterError`, and `StoreUnavailable` if nothing was ever read.
        """
        queries = self._console.queries
        try:
            return queries.submissions(filter, cursor=cursor, limit=limit)
        except StoreUnavailable as error:
            if queries.freshness().as_of is None and not isinstance(error, Loading):
                raise  # An empty list would say that nothing has ever come in.
            return queries.submissions(filter, cursor=cursor, limit=limit, wait=False)

    def _total(self, filter: Filter, **changes: str | None) -> int:
        return self._page(structs.replace(filter, **changes)).total

    def _cause_cards(self) -> list[CauseCard]:
        try:
            return self._console.queries.last_causes()
        except StoreUnavailable:
            return []

    def _bulk_links(self, location: ListLocation, page: Page[Item]) -> list[BulkLink]:
        """What can be done to all that match. None without a state: `all` would be too much."""
        if not location.filter.state:
            return []
        states = location.filter.state.split(",")
        links = []
        for action, allowed in ACTIONS.items():
            fitting = [state for state in states if state in allowed]
            if fitting == states:
                count = page.total
            else:
                count = self._total(location.filter, state=",".join(fitting)) if fitting else 0
            if count:
                label = f"{ACTION_LABELS[action]} all {rendering.number(count)}"
                links.append(BulkLink(action, label, location.bulk_url(action)))
        return links

    def _empty_list(self, location: ListLocation, page: Page[Item]) -> EmptyList | None:
        if page.items:
            return None
        filter = location.filter
        if self._total(Filter()) == 0:
            return EmptyList(kind="never")
        if filter.parameters().keys() <= {"state"}:
            title = NOTHING.get(filter.state or "", "Nothing in these states")
            return EmptyList(kind="none", title=title)
        suggestions = self._without_one(location) or self._with_one(location)
        return EmptyList(kind="matches", suggestions=suggestions)

    def _without_one(self, location: ListLocation) -> list[FilterSuggestion]:
        """The list without each of the filters, the longest first."""
        titles = self._cause_titles()
        counted = [
            (self._total(location.filter, **{name: None}), name, value)
            for name, value in location.filter.parameters().items()
        ]
        return [
            FilterSuggestion(
                f"Remove {_filter_label(name, value, titles)}",
                location.url_without(name),
                f"{rendering.plural(count, 'lead')} without it",
            )
            for count, name, value in sorted(counted, key=lambda each: -each[0])
            if count
        ]

    def _with_one(self, location: ListLocation) -> list[FilterSuggestion]:
        """Where no single filter is to blame: the list with each filter alone."""
        titles = self._cause_titles()
        suggestions = []
        for name, value in location.filter.parameters().items():
            alone = structs.replace(Filter(whole=location.filter.whole), **{name: value})
            if count := self._total(alone):
                label = f"Only {_filter_label(name, value, titles)}"
                url = ListLocation(filter=alone).list_url
                suggestions.append(FilterSuggestion(label, url, rendering.plural(count, "lead")))
        return suggestions

    def _cause_titles(self) -> dict[str, str]:
        return {card.id: card.title for card in self._cause_cards()}


def row_actions(item: Item) -> list[tuple[str, str]]:
    """The buttons of a row: action and label."""
    return [
        (action, ACTION_LABELS[action])
        for action, states in ACTIONS.items()
        if item.state in states
    ]


def split_who(item: Item) -> tuple[str, str]:
    """Person and company; a lead without a name has the end of its id instead."""
    person, _, company = item.who.partition(" · ")
    return person or f"No name ({item.id[-SHORT_ID_CHARS:]})", company


def _state_options(filter: Filter) -> list[tuple[str, str]]:
    """The choices of the state filter, including the active one if it is none of them."""
    single = [(state.value, STATES[state].label) for state in State if state is not State.DEAD]
    options = [("", "any state"), *STATE_CHOICES, *single]
    if filter.state and filter.state not in dict(options):
        options.append((filter.state, filter.state.replace(",", ", ")))
    return options


def _options(
    any_label: str, labels: Mapping[str, str], active: str | None
) -> list[tuple[str, str]]:
    options = [("", any_label), *labels.items()]
    return [*options, (active, active)] if active and active not in labels else options


def _chips(location: ListLocation, cards: list[CauseCard]) -> list[FilterChip]:
    """None for a state alone: the state filter says the same."""
    parameters = location.filter.parameters()
    if parameters.keys() <= {"state"}:
        return []
    titles = {card.id: card.title for card in cards}
    return [
        FilterChip(_filter_label(name, value, titles), location.url_without(name))
        for name, value in parameters.items()
    ]


def _filter_label(name: str, value: str, cause_titles: Mapping[str, str]) -> str:
    if name == "q":
        return f"“{value}”"
    if name == "state":
        return f"state: {STATE_LABELS.get(value, value.replace(',', ', '))}"
    return f"{name}: {cause_titles.get(value, value)}"
