"""Faults on demand: rules that pick calls and say what happens to them.

    POST /_sandbox/faults
    {"match": {"operation": "leads.add", "every": 5}, "effect": {"kind": "answer", "status": 503}}

A rule picks a call by everything that its `match` names. Of the picked calls it lets the first
`after` pass, then hits every `every`-th one, each with `probability`, until it has hit `count` or
`seconds` have passed since its first hit. The first rule that hits decides; rules behind it do not
count the call. `service.sandbox.fault_presets` has ready-made rules by name.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from service.sandbox.api_operations import Operation
from service.sandbox.fault_effects import Effect
from service.sandbox.fault_presets import PRESETS

Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
MAX_RULES = 100


class FaultMatch(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which calls a rule picks and hits.

    `operation` is our name or the `operationId` of the documents; it and `path` may contain `*`.
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
    seconds: Annotated[float, Meta(gt=0)] | None = None


class FaultRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which calls a fault hits, and what happens to them."""

    name: str = ""
    match: FaultMatch = field(default_factory=FaultMatch)
    effect: Effect


class ActiveRule:
    """A rule in force, and how often it has picked and hit a call.

    `ticks` gives monotonic seconds.
    """

    def __init__(self, rule: FaultRule, seed: int, ticks: Callable[[], float]) -> None:
        self.rule = rule
        self.picked = 0
        self.hits = 0
        self._ticks = ticks
        self._first_hit_at: float | None = None
        self._random = random.Random(seed if rule.match.seed is None else rule.match.seed)

    @property
    def is_spent(self) -> bool:
        """Whether it has hit `count` calls, or its `seconds` are over."""
        match = self.rule.match
        if match.count is not None and self.hits >= match.count:
            return True
        since = self._first_hit_at
        return (
            match.seconds is not None
            and since is not None
            and self._ticks() >= since + match.seconds
        )

    def try_hit(self, operation: Operation | None, method: str, path: str, raw: bytes) -> bool:
        """Count this call; True if the rule hits it."""
        match = self.rule.match
        if self.is_spent or not _matches(match, operation, method, path, raw):
            return False
        self.picked += 1
        number = self.picked - match.after
        if number < 1 or number % match.every or self._random.random() >= match.probability:
            return False
        self.hits += 1
        if self._first_hit_at is None:
            self._first_hit_at = self._ticks()
        return True


class Faults:
    """The rules in force, in order."""

    def __init__(self, seed: int, ticks: Callable[[], float] = time.monotonic) -> None:
        self._seed = seed
        self._ticks = ticks
        self._added = 0
        self.rules: list[ActiveRule] = []

    def add(self, rules: list[FaultRule]) -> None:
        """Add rules behind those in force; raises `ValueError` if that would be too many."""
        if len(self.rules) + len(rules) > MAX_RULES:
            raise ValueError(f"expected at most {MAX_RULES} rules")
        for rule in rules:
            self._added += 1
            self.rules.append(ActiveRule(rule, self._seed + self._added, self._ticks))

    def add_preset(self, name: str) -> None:
        """Add the fault of this name; raises `ValueError` as `add` does, or if there is none."""
        if name not in PRESETS:
            raise ValueError(f"expected one of {', '.join(PRESETS)}")
        self.add(msgspec.convert(PRESETS[name].rules(name), list[FaultRule]))

    def clear(self) -> None:
        self.rules.clear()

    def find_effect(
        self, operation: Operation | None, method: str, path: str, raw: bytes
    ) -> Effect | None:
        """The effect for this call, if a rule hits it."""
        for active in self.rules:
            if active.try_hit(operation, method, path, raw):
                return active.rule.effect
        return None

    def describe(self) -> list[dict[str, Any]]:
        """The rules with their counts, as the control routes show them."""
        return [
            {
                "rule": active.rule,
                "picked": active.picked,
                "hits": active.hits,
                "spent": active.is_spent,
            }
            for active in self.rules
        ]


def _matches(
    match: FaultMatch, operation: Operation | None, method: str, path: str, raw: bytes
) -> bool:
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
