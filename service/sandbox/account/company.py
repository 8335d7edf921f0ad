"""The company whose account the sandbox holds, as every operation gets it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from service.sandbox.account.search import LaggingIndex
from service.sandbox.account.stock import (
    CHANNELS,
    CURRENCIES,
    DEAL_FIELDS,
    PERSON_FIELDS,
    SYNCED_FIELDS,
    USERS,
    StockField,
    StockUser,
    stock_labels,
)
from service.sandbox.account.store import RecordStore, RecordTable, StateFile
from service.sandbox.api_errors import forbidden, invalid_value
from service.sandbox.settings import SandboxSettings

INACTIVE_CURRENCIES = "inactive_currencies"
# The ids of options that are made again are above this.
OPTION_BASE = 1000


class Clocks(Struct, frozen=True):
    """`wall`: Unix seconds, for what is stored; `ticks`: monotonic seconds, for durations."""

    wall: Callable[[], float]
    ticks: Callable[[], float]


class OperationResult(Struct, frozen=True):
    """What a handler returns: `data` and, unless `additional` is UNSET, `additional_data`."""

    data: Any
    additional: dict[str, Any] | UnsetType | None = UNSET
    status: int = 200

    def body(self) -> dict[str, Any]:
        body = {"success": True, "data": self.data}
        return body if self.additional is UNSET else body | {"additional_data": self.additional}


class Company:
    """Records, search index and clocks of one account."""

    def __init__(self, settings: SandboxSettings, file: StateFile, clocks: Clocks) -> None:
        self.settings = settings
        self.clocks = clocks
        self._file = file
        self._open()

    def reset(self) -> None:
        """Delete every record, also on disk, and start again with the stock account."""
        self._file.clear()
        self._open()

    def close(self) -> None:
        self._file.close()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clocks.wall(), UTC)

    def new_uuid(self, kind: str) -> str:
        """A new id for a record that has a UUID; the same sequence for the same seed."""
        text = f"{self.settings.seed}:{kind}:{self.store.next_number(kind)}"
        return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))

    def require_room(self, *tables: RecordTable) -> None:
        """Raise `ApiError` (403) if the tables together hold as many records as the plan allows."""
        if sum(len(table) for table in tables) >= self.settings.capacity:
            raise forbidden(
                "The limit of your plan has been reached",
                f"feature_capping_{tables[-1].name}s_limit",
            )

    @property
    def channels(self) -> dict[int, str]:
        """Option id -> label; a deleted option is missing."""
        return self._without_deleted("channel", CHANNELS) | self._recreated("channel")

    @property
    def deal_fields(self) -> dict[str, StockField]:
        """The fields that leads and deals share, by code."""
        channel = msgspec.structs.replace(DEAL_FIELDS["channel"], options=self.channels)
        return self._fields(DEAL_FIELDS | {"channel": channel})

    @property
    def person_fields(self) -> dict[str, StockField]:
        """The fields of persons, by code."""
        return self._fields(PERSON_FIELDS | (SYNCED_FIELDS if self.settings.contact_sync else {}))

    def remake_option(self, kind: str, option: int, label: str) -> None:
        """Delete an option of a field and make it again under its label; `kind` is the field."""
        number = OPTION_BASE + self.store.next_number("option")
        others = {key: text for key, text in self._recreated(kind).items() if key != option}
        recreated = {str(key): text for key, text in (others | {number: label}).items()}
        self.store.set_value(f"recreated:{kind}", recreated)
        self.store.set_value(f"deleted:{kind}", [*self._deleted(kind), option])

    def remake_field(self, field: StockField) -> None:
        """Delete a custom field and make it again under its name."""
        number = self.store.next_number("field")
        code = hashlib.sha1(f"{field.code}:{number}".encode(), usedforsecurity=False).hexdigest()
        self.store.set_value("remade", (self.store.get_value("remade") or {}) | {field.code: code})

    def is_deleted_field(self, code: str) -> bool:
        """Whether a custom field of this code was deleted: requests that name it ignore it."""
        return code in (self.store.get_value("remade") or {})

    def deactivate_user(self, user_id: int) -> None:
        self.store.set_value("deleted:user", [*self._deleted("user"), user_id])

    def is_active(self, user_id: int) -> bool:
        return user_id not in self._deleted("user")

    def require_user(self, user_id: int | None, name: str) -> None:
        """Raise `ApiError` (400) unless the user exists and is active; None passes."""
        if user_id is not None and user_id not in {user.id for user in USERS}:
            raise invalid_value(f'"{name}" is not a user of this company')
        if user_id is not None and not self.is_active(user_id):
            raise invalid_value(f'"{name}" is not an active user of this company')

    def _fields(self, fields: dict[str, StockField]) -> dict[str, StockField]:
        remade = self.store.get_value("remade") or {}
        current = {}
        for field in fields.values():
            code = field.code
            while code in remade:
                code = remade[code]
            options = field.options
            if field.custom and options is not None:
                kind = f"option:{field.name}"
                options = self._without_deleted(kind, options) | self._recreated(kind)
            current[code] = msgspec.structs.replace(field, code=code, options=options)
        return current

    def _without_deleted(self, kind: str, options: dict[int, str]) -> dict[int, str]:
        return {key: label for key, label in options.items() if key not in self._deleted(kind)}

    def _deleted(self, kind: str) -> list[int]:
        return list(self.store.get_value(f"deleted:{kind}") or [])

    def _recreated(self, kind: str) -> dict[int, str]:
        recreated = self.store.get_value(f"recreated:{kind}") or {}
        return {int(key): label for key, label in recreated.items()}

    def require_currency(self, code: str) -> None:
        """Raise `ApiError` (400) unless the account has the currency, and it is active."""
        if code not in {currency[0] for currency in CURRENCIES} - self.inactive_currencies:
            raise invalid_value('"value.currency" must be a currency of this company')

    @property
    def inactive_currencies(self) -> set[str]:
        """The codes of stock currencies that the account has switched off."""
        return set(self.store.get_value(INACTIVE_CURRENCIES) or ())

    def deactivate_currencies(self, codes: list[str]) -> None:
        """Switch off these currencies, and on all others, until a reset."""
        self.store.set_value(INACTIVE_CURRENCIES, codes)
        self.store.commit()

    def _open(self) -> None:
        self.store = RecordStore(self._file)
        self.index = LaggingIndex(self.settings.search_delay_seconds, self.clocks.ticks)
        if not self.store.load():
            for label in stock_labels():
                self.store.labels.put(label)
            self.store.commit()


def find_user(user_id: int) -> StockUser:
    """A user of the stock account."""
    return next(user for user in USERS if user.id == user_id)


def format_milliseconds(moment: datetime) -> str:
    """`2024-01-15T09:00:00.123Z`, as in leads and labels."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_seconds(moment: datetime) -> str:
    """`2024-01-15T09:00:00Z`, as everywhere in v2."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def format_note_time(moment: datetime) -> str:
    """`2024-01-15 09:00:00`, as in notes."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")
