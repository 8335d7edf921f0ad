"""When a condition is told: once when it holds, again when it grows, once when it has recovered; never to and fro. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, structs

from service.alerts.conditions import Condition

BETWEEN_SECONDS = 300.0
"""Between two messages of one condition that grows."""


class Standing(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A condition over time, in Unix seconds. `told` is the level last told, 0 before it was told at all."""

    since: float
    recovered: str
    path: str
    calm: float
    told: int = 0
    told_at: float = 0.0
    gone_since: float | None = None


class Message(Struct, frozen=True):
    """`recovered` is true where something is over. `path` is the page of the console that shows it."""

    text: str
    path: str
    recovered: bool = False


def tell(standing: Mapping[str, Standing], raised: Iterable[Condition], now: float) -> tuple[dict[str, Standing], list[Message]]:
    """What stands from now on, and what is to be told."""
    conditions = {condition.key: condition for condition in raised}
    kept: dict[str, Standing] = {}
    messages: list[Message] = []
    for key, condition in conditions.items():
        kept[key], message = _raised(standing.get(key), condition, now)
        messages += [message] if message else []
    for key, before in standing.items():
        if key in conditions or not before.told:
            continue
        gone_since = now if before.gone_since is None else before.gone_since
        if now - gone_since >= before.calm:
            messages.append(Message(f"Recovered: {before.recovered}", before.path, recovered=True))
        else:
            kept[key] = structs.replace(before, gone_since=gone_since)
    return kept, messages


def _raised(before: Standing | None, condition: Condition, now: float) -> tuple[Standing, Message | None]:
    since = before.since if before else now
    current = Standing(
        since=since,
        recovered=condition.recovered,
        path=condition.path,
        calm=condition.calm,
        told=before.told if before else 0,
        told_at=before.told_at if before else 0.0,
    )
    first = not current.told and now - since >= condition.after
    grown = 0 < current.told < condition.level and now - current.told_at >= BETWEEN_SECONDS
    if not first and not grown:
        return current, None
    told = structs.replace(current, told=condition.level, told_at=now)
    return told, Message(condition.text[:1].upper() + condition.text[1:], condition.path)
