"""The search index. It lags: a change is found only `delay` seconds after it was made, as on the
real thing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct

Texts = dict[str, tuple[str, ...]]
"""Searchable field -> its texts."""


class Entry(Struct, frozen=True):
    """What the index holds of one record: its texts, case-folded, and the hit it answers with."""

    texts: Texts
    hit: dict[str, Any]


class Hit(Struct, frozen=True):
    """One result: a whole-field match scores 1, a match of all words less."""

    score: float
    item: dict[str, Any]


class SearchIndex:
    """One index over all kinds. `clock` is monotonic, in seconds."""

    def __init__(self, delay: float, clock: Callable[[], float]) -> None:
        self._delay = delay
        self._clock = clock
        self._coming: deque[tuple[float, str, Any, Entry | None]] = deque()
        self._entries: dict[str, dict[Any, Entry]] = {}
        self._whole: dict[tuple[str, str, str], dict[Any, None]] = {}

    def put(
        self, kind: str, key: Any, texts: Texts, hit: dict[str, Any], *, at_once: bool = False
    ) -> None:
        """Indexes a record as it is now; `hit` must not be changed afterwards."""
        folded = {
            field: tuple(text.casefold() for text in values if text)
            for field, values in texts.items()
        }
        self._schedule(kind, key, Entry(folded, hit), at_once)

    def drop(self, kind: str, key: Any) -> None:
        """Forgets a record, as late as everything else."""
        self._schedule(kind, key, None, False)

    def find(self, kind: str, term: str, fields: Collection[str], *, exact: bool) -> list[Hit]:
        """Hits in the chosen fields, best first, then in order of creation. Never
        case-sensitive.
        """
        self._catch_up()
        wanted = term.casefold().strip()
        entries = self._entries.get(kind, {})
        whole: dict[Any, None] = {}
        for field in fields:
            whole |= self._whole.get((kind, field, wanted), {})
        hits = [Hit(1.0, entries[key].hit) for key in whole]
        if exact:
            return hits
        words = wanted.split()
        return hits + [
            Hit(0.5, entry.hit)
            for key, entry in entries.items()
            if key not in whole and _has_words(entry, words, fields)
        ]

    def _schedule(self, kind: str, key: Any, entry: Entry | None, at_once: bool) -> None:
        self._coming.append((self._clock() + (0 if at_once else self._delay), kind, key, entry))

    def _catch_up(self) -> None:
        now = self._clock()
        while self._coming and self._coming[0][0] <= now:
            _, kind, key, entry = self._coming.popleft()
            self._apply(kind, key, entry)

    def _apply(self, kind: str, key: Any, entry: Entry | None) -> None:
        entries = self._entries.setdefault(kind, {})
        if old := entries.get(key):
            for field, text in _pairs(old):
                keys = self._whole.get((kind, field, text), {})
                keys.pop(key, None)
                if not keys:
                    self._whole.pop((kind, field, text), None)
        if entry is None:
            entries.pop(key, None)
            return
        entries[key] = entry
        for field, text in _pairs(entry):
            self._whole.setdefault((kind, field, text), {})[key] = None


def _pairs(entry: Entry) -> list[tuple[str, str]]:
    return [(field, text) for field, texts in entry.texts.items() for text in texts]


def _has_words(entry: Entry, words: list[str], fields: Collection[str]) -> bool:
    texts = [text for field in fields for text in entry.texts.get(field, ())]
    return bool(words) and all(any(word in text for text in texts) for word in words)
