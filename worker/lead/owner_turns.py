"""Owners who take turns: whose turn it is, by weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from worker.lead.settings import OwnerSetting


class OwnerShare(Struct, frozen=True):
    """An owner by id, e-mail or name, and how many of all turns are theirs."""

    owner: int | str
    weight: int = 1


def owner_shares(setting: OwnerSetting | None) -> tuple[OwnerShare, ...]:
    """Return the owners of a setting, in its order; an owner who is listed twice has two turns."""
    if setting is None:
        return ()
    if isinstance(setting, int | str):
        return (OwnerShare(setting),)
    weights = setting if isinstance(setting, dict) else Counter(setting)
    return tuple(OwnerShare(owner, weight) for owner, weight in weights.items())


def describe_owners(owner: int | str | None, owners: Sequence[OwnerShare]) -> str | None:
    """Return who the owner will be, for people: `12`, or `12, 15 in turns`."""
    if owners:
        return f"{', '.join(str(share.owner) for share in owners)} in turns"
    return None if owner is None else str(owner)


def owner_in_turn(shares: Sequence[OwnerShare], turn: int) -> int | str:
    """Return whose turn it is; turns count from 0, and those of one owner are spread evenly.

    With weights 2 and 1 that is A, B, A, and again from the start.
    """
    total = sum(share.weight for share in shares)
    credits, chosen = [0] * len(shares), 0
    for _ in range(turn % total + 1):
        credits = [credit + share.weight for credit, share in zip(credits, shares, strict=True)]
        chosen = credits.index(max(credits))
        credits[chosen] -= total
    return shares[chosen].owner
