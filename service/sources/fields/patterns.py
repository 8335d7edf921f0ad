"""Regular expressions of the source file that no text can make slow.

Python's matcher backtracks: `(a+)+b` takes years for forty letters. So a pattern is measured when
the source file is loaded. A repeat inside a repeat is refused; repeats in a row that may match the
same text shorten the text that is searched, and are refused if hardly any of it would be left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby, takewhile
from math import factorial

# The only parser that reads a pattern exactly as the matcher does.
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from msgspec import Struct

MAX_PATTERN_CHARS = 200
# Characters of a text that are searched, and how many must be left of them.
MAX_MATCHED_CHARS, MIN_MATCHED_CHARS = 1_000, 80
# Steps that one search may take at worst; ten thousand take about 0.3 ms.
MAX_STEPS = 600_000
# A repeat of at most this many times counts as that many copies.
MAX_COPIES = 4
# Ways through optional parts and alternatives.
MAX_WAYS = 64

_SAMPLE = [*map(chr, range(128)), *"äÖßéñøç–—’“„中あйع\u00a0€٣"]
_LOOPS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_STARTS = (_constants.AT_BEGINNING, _constants.AT_BEGINNING_STRING)


class PatternError(ValueError):
    """The pattern cannot be used; the text completes `expected …`."""


class SafePattern(Struct, frozen=True):
    """A pattern, and how many characters of a text it may search.

    A search in `n` characters takes `weight * n ** repeats / repeats!` steps at worst.
    """

    compiled: re.Pattern[str]
    max_chars: int
    repeats: int
    weight: float

    def find(self, text: str) -> str | None:
        """The first group of the first match, or the whole match where there is no group."""
        match = self.compiled.search(text[: self.max_chars])
        return match[1 if self.compiled.groups else 0] if match else None

    def steps(self, text: str) -> int:
        """The steps that a search in a text may take at worst."""
        return _count_steps(min(len(text), self.max_chars), self.repeats, self.weight)


@lru_cache(maxsize=1_024)
def compile_pattern(text: str) -> SafePattern:
    """The pattern, compiled and measured. Raises PatternError."""
    if not 0 < len(text) <= MAX_PATTERN_CHARS:
        raise PatternError(f"a regular expression of 1 to {MAX_PATTERN_CHARS} characters")
    try:
        tree = _parser.parse(text)
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"a regular expression ({str(error)[:80]})") from None
    analysis = _Analysis(tree.state)
    pieces = list(analysis.flatten(tree))
    is_anchored = bool(tree.data) and tree.data[0] in [(_constants.AT, one) for one in _STARTS]
    if not is_anchored or compiled.flags & re.MULTILINE:
        # The matcher tries each character as the beginning, as if the pattern began with `.*?`.
        pieces.insert(0, _ANYWHERE)
    repeats, weight = _count_repeats(pieces), analysis.choices * _weigh_runs(pieces)
    length = MAX_MATCHED_CHARS
    while length > 0 and _count_steps(length, repeats, weight) > MAX_STEPS:
        length -= 10
    if length < MIN_MATCHED_CHARS:
        raise PatternError(
            "a pattern whose repeats cannot match the same text: begin it with ^ and write"
            " [^,]* where .* would run over a comma"
        )
    return SafePattern(compiled, length, repeats, weight)


class _Piece(NamedTuple):
    """A required character, or a repeat; `characters` are those of a sample that it matches."""

    characters: frozenset[str]
    is_loop: bool = False


_ANYWHERE = _Piece(frozenset(_SAMPLE), is_loop=True)


class _Analysis:
    """Turns a parsed pattern into pieces in a row, and counts its `choices`."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.choices = 1

    def flatten(self, tree: Any) -> Iterator[_Piece]:
        for operation, argument in tree:
            if operation in _LOOPS:
                yield from self._flatten_loop(*argument)
            elif operation is _constants.SUBPATTERN:
                yield from self.flatten(argument[-1])
            elif operation is _constants.ATOMIC_GROUP:
                yield from self.flatten(argument)
            elif operation is _constants.BRANCH:
                self._add_ways(len(argument[1]))
                for branch in argument[1]:
                    # Any branch may match, so no character of them is required.
                    yield from (piece for piece in self.flatten(branch) if piece.is_loop)
            elif operation is not _constants.AT:
                yield _Piece(self._characters([(operation, argument)]))

    def _flatten_loop(self, low: int, high: Any, body: Any) -> Iterator[_Piece]:
        is_long = high is _constants.MAXREPEAT or high > MAX_COPIES
        if not is_long:
            self._add_ways(high - low + 1)
            for copy in range(high):
                pieces = list(self.flatten(body))
                yield from (piece for piece in pieces if copy < low or piece.is_loop)
            return
        before = self.choices
        pieces = list(self.flatten(body))
        if any(piece.is_loop for piece in pieces) or self.choices != before:
            raise PatternError("a pattern without repeats or alternatives inside a repeat")
        required = pieces * min(low, MAX_PATTERN_CHARS)
        yield from required
        if low != high:
            yield _Piece(frozenset().union(*(one.characters for one in pieces)), is_loop=True)

    def _add_ways(self, count: int) -> None:
        self.choices *= count
        if self.choices > MAX_WAYS:
            raise PatternError("a pattern with fewer optional parts and alternatives")

    def _characters(self, item: list[Any]) -> frozenset[str]:
        if item[0][0] in (
            _constants.ASSERT, _constants.ASSERT_NOT, _constants.GROUPREF,
            _constants.GROUPREF_EXISTS,
        ):  # fmt: skip
            raise PatternError("a pattern without look-around and back-references")
        one = _compiler.compile(_parser.SubPattern(self.state, item), self.state.flags)
        return frozenset(filter(one.fullmatch, _SAMPLE))


def _count_repeats(pieces: list[_Piece]) -> int:
    """How many repeats multiply the steps, each by the length of the text.

    A repeat may end at many places (`ends`), unless a character follows that it cannot match.
    After such a character it adds nothing, as long as there is only one way to each place: what it
    matches from one such character on ends before the next one. A search that reaches the last
    repeat has a match.
    """
    steps = ends = 0
    is_distinct = True
    for at, piece in enumerate(pieces):
        if not piece.is_loop or (at and at == len(pieces) - 1):
            continue
        is_closed = not pieces[at + 1].is_loop and _differ(pieces[at + 1], piece)
        before = takewhile(lambda one: not one.is_loop, reversed(pieces[:at]))
        is_apart = ends > 0 and is_distinct and any(_differ(one, piece) for one in before)
        steps = max(steps, ends + (not is_apart))
        is_distinct = is_apart or ends == 0
        ends += not is_closed and not is_apart
    return steps


def _weigh_runs(pieces: list[_Piece]) -> float:
    """How often a place in the text may be compared with required characters.

    A run of them is compared about once, unless it overlaps itself as `aaab` does. The first run
    also bounds how close together two matches can begin.
    """
    runs = [list(run) for is_loop, run in groupby(pieces, lambda one: one.is_loop) if not is_loop]
    lengths = ((run[:end], end) for run in runs for end in range(1, len(run) + 1))
    weight = max((length / _find_period(run) for run, length in lengths), default=1.0)
    begins_anywhere = len(runs) > 0 and pieces[0] == _ANYWHERE and not pieces[1].is_loop
    return max(weight / _find_period(runs[0]), 1.0) if begins_anywhere else weight


def _find_period(run: list[_Piece]) -> int:
    """By how many characters a run can be shifted and still match itself; at most its length."""
    shifts = range(1, len(run))
    pairs = ((shift, zip(run, run[shift:], strict=False)) for shift in shifts)
    fits = (shift for shift, both in pairs if not any(_differ(one, two) for one, two in both))
    return next(fits, len(run))


def _differ(one: _Piece, other: _Piece) -> bool:
    return one.characters.isdisjoint(other.characters)


def _count_steps(length: int, repeats: int, weight: float) -> int:
    # At worst every choice of places at which the repeats end; at least one run through the text.
    return int(length + length**repeats * weight / factorial(repeats))
