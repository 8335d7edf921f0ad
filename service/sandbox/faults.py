"""Faults on demand: rules that pick calls and say what shall happen to them.

    POST /_sandbox/faults
    {"match": {"operation": "leads.add", "every": 5}, "effect": {"kind": "answer", "status": 503}}

A rule picks a call by everything its `match` names. Of the calls picked it lets `after` pass, then
hits every `every`-th, each with `probability`, until it has hit `count`. The first rule that hits
decides; rules behind it do not count the call.
"""

from __future__ import annotations

import random
from fnmatch import fnmatchcase
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from service.sandbox.fault_effects import Effect
from service.sandbox.operations import Operation

Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
MOST_RULES = 100


class Match(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which calls a rule picks. `operation`: our name or the documents' id, with `*`; `path`: as
    sent, with `*`.
    """

    operation: str | None = None
    method: str | None = None
    path: str | None = None
    body_contains: str | None = None
    after: Natural = 0
    every: Positive = 1
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: int | None = None
    count: Positive | None = None


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault: which calls, and what happens to them."""

    name: str = ""
    match: Match = field(default_factory=Match)
    effect: Effect


class Counted:
    """A rule and how often it picked and hit."""

    def __init__(self, rule: Rule, seed: int) -> None:
        self.rule = rule
        self.picked = 0
        self.hits = 0
        self._chance = random.Random(seed if rule.match.seed is None else rule.match.seed)

    @property
    def spent(self) -> bool:
        """Whether it has hit as often as it may."""
        return self.rule.match.count is not None and self.hits >= self.rule.match.count

    def hit(self, operation: Operation | None, method: str, path: str, raw: bytes) -> bool:
        """Whether this call is hit; counts it."""
        match = self.rule.match
        if self.spent or not _picks(match, operation, method, path, raw):
            return False
        self.picked += 1
        turn = self.picked - match.after
        if turn < 1 or turn % match.every or self._chance.random() >= match.probability:
            return False
        self.hits += 1
        return True


class Faults:
    """The rules in force, in order."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._added = 0
        self.rules: list[Counted] = []

    def add(self, rules: list[Rule]) -> None:
        """Adds rules behind those in force. Raises `ValueError` if there would be too many."""
        if len(self.rules) + len(rules) > MOST_RULES:
            raise ValueError(f"expected at most {MOST_RULES} rules")
        for rule in rules:
            self._added += 1
            self.rules.append(Counted(rule, self._seed + self._added))

    def clear(self) -> None:
        self.rules.clear()

    def hitting(
        self, operation: Operation | None, method: str, path: str, raw: bytes
    ) -> Effect | None:
        """The effect for this call, if a rule hits it."""
        for counted in self.rules:
            if counted.hit(operation, method, path, raw):
                return counted.rule.effect
        return None

    def listed(self) -> list[dict[str, Any]]:
        """The rules with their counts."""
        return [
            {
                "rule": counted.rule,
                "picked": counted.picked,
                "hits": counted.hits,
                "spent": counted.spent,
            }
            for counted in self.rules
        ]


def _picks(match: Match, operation: Operation | None, method: str, path: str, raw: bytes) -> bool:
    if match.method is not None and match.method.upper() != method:
        return False
    if match.path is not None and not fnmatchcase(path, match.path):
        return False
    if match.body_contains is not None and match.body_contains.encode() not in raw:
        return False
    if match.operation is None:
        return True
    names = (operation.name, operation.operation_id) if operation else ()
    return any(fnmatchcase(name, match.operation) for name in names)
