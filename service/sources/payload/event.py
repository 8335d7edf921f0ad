"""One event of a request, as an adapter hands it on: everything product-specific is behind it,
everything common is ahead.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from service.sources.payload.tree import Path, Tree, resolve, text_of
from service.sources.request import Outcome
from service.sources.schema import PathCondition


class PayloadField(Struct, frozen=True, kw_only=True):
    """One thing that was asked or told. `steps` are the names it is recognised by, `field` what the
    product itself says it is.

    `also` are other names of it, which count where the steps say nothing: a question's key beside
    its title.
    """

    path: Path
    name_path: tuple[str, ...]
    value: Tree
    lead_field: str | None = None
    title: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name it has among the answers: the product's title, else its steps; `interests[]` is
        `interests`.
        """
        return self.title or ".".join(self.name_path).removesuffix("[]")


class LookupScope(Struct, frozen=True):
    """A tree in which the paths of `map` are looked up; `path` is where it stands in the whole
    payload.

    `names` are other names of its keys, as people know them: a question's title for its id.
    """

    path: Path
    tree: Tree
    aliases: dict[str, str] = {}

    def find(self, path: str) -> tuple[Path, Tree] | None:
        """Where a path leads, from the top of the whole payload, and what stands there."""
        found = resolve(self.tree, path)
        if found is None and (key := self.aliases.get(path)):
            found = (key,), self.tree[key]
        return ((*self.path, *found[0]), found[1]) if found else None


class ParsedEvent(Struct, frozen=True, kw_only=True):
    """`scopes` in the order in which they are searched. `known` are canonical fields that the
    product names itself.

    `outcome` and `why` are set where the product says what the event is: NO_LEAD for a test, ping
    or deletion, NEEDS_FETCH (with `fetch`) for ids only.
    """

    scopes: list[LookupScope]
    fields: list[PayloadField]
    lead_fields: dict[str, Tree] = field(default_factory=dict)
    event_id: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    fetch: dict[str, str] | None = None
    is_test: bool = False
    index: int | None = None
    """Which of several events of one body this is: they share the body's ids."""
    referer: str | None = None
    """The page that the browser says it comes from, for forms that do not send their own."""

    def find(self, path: str) -> tuple[Path, Tree] | None:
        """Where a path of `read` leads, from the top and then from the root, and what stands
        there.
        """
        for scope in reversed(self.scopes):
            if found := scope.find(path):
                return found
        return None

    def owns(self, path: Path) -> bool:
        """Whether what stands at a path belongs to this event alone, rather than to all events of
        its body.
        """
        root = self.scopes[0].path
        return self.index is None or path[: len(root)] == root

    def number_id(self, event_id: str | None) -> str | None:
        """An id that several events of one body share, told apart by their number."""
        return f"{event_id}#{self.index}" if event_id and self.index is not None else event_id

    def matches(self, match: PathCondition) -> bool:
        """Whether what stands at the path equals one of the values, by their text: `1` and `"1"`
        are equal.
        """
        found = self.find(match.at)
        wanted = match.equals if isinstance(match.equals, list) else [match.equals]
        return found is not None and (text_of(found[1]) or "") in {
            text_of(each) or "" for each in wanted
        }

    @property
    def top(self) -> Any:
        """The whole payload."""
        return self.scopes[-1].tree
