"""The stand-in's company: its records, its search index and its clock, as every operation gets
them.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from service.sandbox.account.search import SearchIndex
from service.sandbox.account.stock import CURRENCIES, USERS, User, stock_labels
from service.sandbox.account.store import Journal, Store, Table
from service.sandbox.errors import forbidden, invalid
from service.sandbox.settings import SandboxSettings


class Clocks(Struct, frozen=True):
    """`wall`: Unix seconds, for what is stored; `ticks`: monotonic seconds, for what is
    measured.
    """

    wall: Callable[[], float]
    ticks: Callable[[], float]


class Answer(Struct, frozen=True):
    """What an operation answers with: `data`, and beside it `additional_data` if there is any."""

    data: Any
    additional: dict[str, Any] | UnsetType | None = UNSET
    status: int = 200

    def body(self) -> dict[str, Any]:
        envelope = {"success": True, "data": self.data}
        return (
            envelope
            if self.additional is UNSET
            else envelope | {"additional_data": self.additional}
        )


class Company:
    """Records, index and clock of one account."""

    def __init__(self, settings: SandboxSettings, journal: Journal, clocks: Clocks) -> None:
        self.settings = settings
        self.clocks = clocks
        self._journal = journal
        self._open()

    def reset(self) -> None:
        """Forgets every record, on disk too; the stock account is back."""
        self._journal.clear()
        self._open()

    def close(self) -> None:
        """Closes the state file."""
        self._journal.close()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clocks.wall(), UTC)

    def new_uuid(self, kind: str) -> str:
        """A fresh id for a record that goes by uuid; the same sequence for the same seed."""
        text = f"{self.settings.seed}:{kind}:{self.store.next_number(kind)}"
        return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))

    def require_room(self, *tables: Table) -> None:
        """Raises `Refusal` (403) once the tables together hold as many records as the account
        may.
        """
        if sum(len(table) for table in tables) >= self.settings.capacity:
            raise forbidden(
                "The limit of your plan has been reached",
                f"feature_capping_{tables[-1].name}s_limit",
            )

    def require_user(self, user_id: int | None, name: str) -> None:
        """Raises `Refusal` (400) unless the user exists; None passes."""
        if user_id is not None and user_id not in {user.id for user in USERS}:
            raise invalid(f'"{name}" is not a user of this company')

    def require_currency(self, code: str) -> None:
        """Raises `Refusal` (400) unless the account has the currency."""
        if code not in {currency[0] for currency in CURRENCIES}:
            raise invalid('"value.currency" must be a currency of this company')

    def _open(self) -> None:
        self.store = Store(self._journal)
        self.search = SearchIndex(self.settings.search_delay_seconds, self.clocks.ticks)
        if not self.store.load():
            for label in stock_labels():
                self.store.labels.put(label)
            self.store.commit()


def user_by_id(user_id: int) -> User:
    """A user of the stock account."""
    return next(user for user in USERS if user.id == user_id)


def milliseconds(moment: datetime) -> str:
    """`2024-01-15T09:00:00.123Z`, as leads and labels carry it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(moment: datetime) -> str:
    """`2024-01-15T09:00:00Z`, as v2 carries it."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def plain(moment: datetime) -> str:
    """`2024-01-15 09:00:00`, as notes carry it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")
