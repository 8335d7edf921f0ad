"""Owners who take turns."""

from __future__ import annotations

from typing import Any

import pytest

from worker.lead.owner_turns import OwnerShare, describe_owners, owner_in_turn, owner_shares


@pytest.mark.parametrize(
    ("setting", "order"),
    [
        (12, [12, 12, 12]),
        ([12, 15], [12, 15, 12, 15, 12]),
        ({"12": 2, "15": 1}, ["12", "15", "12", "12", "15", "12"]),
        ({"a": 3, "b": 1}, ["a", "a", "b", "a", "a", "a", "b", "a"]),
        ([12, 12, 15], [12, 15, 12, 12]),
    ],
)
def test_turns(setting: Any, order: list[int | str]) -> None:
    """Each owner has their share of the turns, spread evenly and the same in every process."""
    shares = owner_shares(setting)
    assert [owner_in_turn(shares, turn) for turn in range(len(order))] == order


def test_shares_are_exact() -> None:
    """Over a whole round everybody has exactly as many turns as their weight, wherever it starts."""
    shares = (OwnerShare(1, 100), OwnerShare(2, 33), OwnerShare(3, 1))
    owners = [owner_in_turn(shares, turn) for turn in range(7_000_000, 7_000_134)]
    assert [owners.count(share.owner) for share in shares] == [100, 33, 1]


@pytest.mark.parametrize(
    ("owner", "several", "text"),
    [(None, [], None), (12, [], "12"), (None, [12, "Robin"], "12, Robin in turns")],
)
def test_description(owner: int | None, several: list[int | str], text: str | None) -> None:
    """People read who the owner will be, or who take turns."""
    assert describe_owners(owner, owner_shares(several)) == text
