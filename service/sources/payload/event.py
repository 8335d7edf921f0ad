"""One event of a request as an adapter returns it: from here on, no code is product-specific."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from service.sources.payload.tree import Path, Tree, resolve, text_of
from service.sources.request import Outcome
from service.sources.schema import PathCondition


class PayloadField(Struct, frozen=True, kw_only=True, gc=False):
    """One value of a payload, and what may say which canonical field it is.

    `path` is where it is in the whole payload. `name_path` holds the names by which it is
    matched. `aliases`, such as a question's key beside its title, count where `name_path` matches
    nothing. `lead_field` is the canonical field, where the product itself names one. `kind` is the
    product's word for the type of a question, such as `textarea`.
    """

    path: Path
    name_path: tuple[str, ...]
    value: Tree
    lead_field: str | None = None
    title: str | None = None
    aliases: tuple[str, ...] = ()
    kind: str | None = None

    @property
    def label(self) -> str:
        """The name of its answer: its title, or its names without a last `[]`."""
        names = self.name_path
        name = self.title or (names[0] if len(names) == 1 else ".".join(names))
        return name if self.title or name[-1:] != "]" else name.removesuffix("[]")


class LookupScope(Struct, frozen=True):
    """A tree in which the paths of `map` are looked up.

    `path` is where the tree is in the whole payload. `aliases` are other names of its keys, as
    people know them: a question's title for its id.
    """

    path: Path
    tree: Tree
    aliases: dict[str, str] = {}

    def find(self, path: str) -> tuple[Path, Tree] | None:
        """Where a path leads, from the top of the whole payload, and the value there."""
        match = resolve(self.tree, path)
        if match is None and (key := self.aliases.get(path)):
            match = (key,), self.tree[key]
        return ((*self.path, *match[0]), match[1]) if match else None


class ParsedEvent(Struct, frozen=True, kw_only=True):
    """The fields of one event, before they are mapped to a lead.

    `scopes` are in the order in which `map` searches them; the last is the whole payload.
    `lead_fields` are canonical fields that the product names itself. `outcome` and `reason` are set
    where the product says what the event is: NO_LEAD for a test, ping or deletion, NEEDS_FETCH
    (with `fetch`) for ids only. `index` is the event's number among several of one body, which
    share the body's ids. `is_id_unsigned`: `event_id` is from a header that the product does not
    sign. `referer` is the page that the browser names, for forms that do not send
    their own.
    """

    scopes: list[LookupScope]
    fields: list[PayloadField]
    lead_fields: dict[str, Tree] = field(default_factory=dict)
    event_id: str | None = None
    is_id_unsigned: bool = False
    outcome: Outcome | None = None
    reason: str | None = None
    fetch: dict[str, str] | None = None
    is_test: bool = False
    index: int | None = None
    referer: str | None = None

    @property
    def top(self) -> Any:
        """The whole payload."""
        return self.scopes[-1].tree

    def find(self, path: str) -> tuple[Path, Tree] | None:
        """Where a path of `read` leads, from the top before the root, and the value there."""
        return next((match for scope in reversed(self.scopes) if (match := scope.find(path))), None)

    def find_mapped(self, path: str) -> tuple[Path, Tree] | None:
        """Where a path of `map` leads, from the root before the top, unless it is empty there."""
        matches = (match for scope in self.scopes if (match := scope.find(path)))
        return next((match for match in matches if match[1] not in (None, "", [], {})), None)

    def matches(self, condition: PathCondition) -> bool:
        """Whether a condition of `read` holds, compared as text: `1` equals `"1"`."""
        match = self.find(condition.at)
        values = condition.equals if isinstance(condition.equals, list) else [condition.equals]
        return match is not None and (text_of(match[1]) or "") in {
            text_of(value) or "" for value in values
        }

    def owns(self, path: Path) -> bool:
        """Whether a value belongs to this event alone, rather than to all events of its body."""
        root = self.scopes[0].path
        return self.index is None or path[: len(root)] == root

    def number_id(self, event_id: str | None) -> str | None:
        """An id that several events of one body share, made unique by the event's number."""
        return f"{event_id}#{self.index}" if event_id and self.index is not None else event_id
