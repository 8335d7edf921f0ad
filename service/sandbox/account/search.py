"""The search index. Like Pipedrive's, it lags: a change can be found only some seconds later."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct

# Searchable field -> its texts.
Texts = dict[str, tuple[str, ...]]


class IndexEntry(Struct, frozen=True):
    """What the index holds of one record: its texts, case-folded, and the item a search returns."""

    texts: Texts
    item: dict[str, Any]


class SearchHit(Struct, frozen=True):
    """One result: a match of a whole field scores 1, a match of all words 0.5."""

    score: float
    item: dict[str, Any]


class LaggingIndex:
    """One index of all kinds. `delay` is in seconds, `clock` monotonic seconds."""

    def __init__(self, delay: float, clock: Callable[[], float]) -> None:
        self._delay = delay
        self._clock = clock
        self._pending: deque[tuple[float, str, Any, IndexEntry | None]] = deque()
        self._entries: dict[str, dict[Any, IndexEntry]] = {}
        self._by_text: dict[tuple[str, str, str], dict[Any, None]] = {}

    def put(
        self, kind: str, key: Any, texts: Texts, item: dict[str, Any], *, immediately: bool = False
    ) -> None:
        """Index a record as it is now; `item` must not be changed afterwards."""
        folded = {
            field: tuple(text.casefold().strip() for text in values if text)
            for field, values in texts.items()
        }
        self._schedule(kind, key, IndexEntry(folded, item), immediately)

    def remove(self, kind: str, key: Any) -> None:
        """Remove a record, with the same lag."""
        self._schedule(kind, key, None, False)

    def find(
        self, kind: str, term: str, fields: Collection[str], *, exact: bool
    ) -> list[SearchHit]:
        """Hits in these fields in any case, best first, then in the order of creation."""
        self._apply_due()
        folded = term.casefold().strip()
        entries = self._entries.get(kind, {})
        exact_keys: dict[Any, None] = {}
        for field in fields:
            exact_keys |= self._by_text.get((kind, field, folded), {})
        hits = [SearchHit(1.0, entries[key].item) for key in exact_keys]
        if exact:
            return hits
        words = folded.split()
        return hits + [
            SearchHit(0.5, entry.item)
            for key, entry in entries.items()
            if key not in exact_keys and _has_words(entry, words, fields)
        ]

    def _schedule(self, kind: str, key: Any, entry: IndexEntry | None, immediately: bool) -> None:
        if immediately:
            self._apply(kind, key, entry)
        else:
            self._pending.append((self._clock() + self._delay, kind, key, entry))

    def _apply_due(self) -> None:
        now = self._clock()
        while self._pending and self._pending[0][0] <= now:
            _, kind, key, entry = self._pending.popleft()
            self._apply(kind, key, entry)

    def _apply(self, kind: str, key: Any, entry: IndexEntry | None) -> None:
        entries = self._entries.setdefault(kind, {})
        if old := entries.get(key):
            for field, text in _pairs(old):
                keys = self._by_text.get((kind, field, text), {})
                keys.pop(key, None)
                if not keys:
                    self._by_text.pop((kind, field, text), None)
        if entry is None:
            entries.pop(key, None)
            return
        entries[key] = entry
        for field, text in _pairs(entry):
            self._by_text.setdefault((kind, field, text), {})[key] = None


def _pairs(entry: IndexEntry) -> list[tuple[str, str]]:
    return [(field, text) for field, texts in entry.texts.items() for text in texts]


def _has_words(entry: IndexEntry, words: list[str], fields: Collection[str]) -> bool:
    texts = [text for field in fields for text in entry.texts.get(field, ())]
    return bool(words) and all(any(word in text for text in texts) for word in words)
