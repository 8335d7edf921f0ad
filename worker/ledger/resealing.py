"""Encrypts everything that is stored under the first of the keys, whatever it was stored under.

It goes through all keys while service and workers run: what they change meanwhile is read again.
What is under the first key already is passed over, so an interrupted run is simply repeated.
"""

from __future__ import annotations

from typing import Any

import msgspec

from worker.encryption import ENCRYPTED, PLAIN, UNREADABLE, DecryptionError
from worker.ledger.ledger import Ledger
from worker.ledger.record import SEALED_FIELDS
from worker.ledger.value_rewriter import ValueRewriter
from worker.store import keys

# The texts of timelines and attempts that may quote the sender.
SEALED_TEXTS = ("why", "detail")


class Resealing(ValueRewriter):
    """Reseals under the cipher's first key. `unreadable` counts what no listed key decrypts."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._cipher = ledger.cipher
        self._attribution = ledger.account.attribution
        self._unreadable: set[tuple[str, object]] = set()

    @property
    def unreadable(self) -> int:
        return len(self._unreadable)

    def skips(self, name: str) -> bool:
        return not name.startswith(keys.PREFIX) or name.startswith(keys.IDS_ONLY)

    def change(self, text: bytes, name: str, place: bytes | int) -> bytes | None:
        is_of_submission = name.startswith(keys.submission(""))
        if is_of_submission and name.endswith((":timeline", ":attempts")):
            return self._reseal_texts(text, name, place)
        if text[:1] in (ENCRYPTED, PLAIN):
            return None if self._cipher.is_current(text) else self._reseal(text, name, place)
        field = place.decode("utf-8", "replace") if isinstance(place, bytes) else ""
        if name == self._attribution or (is_of_submission and field in SEALED_FIELDS):
            return self._cipher.encrypt(text) if text else None
        return None

    def _reseal(self, text: bytes, name: str, place: bytes | int) -> bytes | None:
        try:
            return self._cipher.encrypt(self._cipher.decrypt(text))
        except DecryptionError:
            self._unreadable.add((name, place))
            return None

    def _reseal_texts(self, text: bytes, name: str, place: bytes | int) -> bytes | None:
        entry: dict[str, Any] = msgspec.json.decode(text)
        changed = False
        for field in SEALED_TEXTS:
            sealed = entry.get(field)
            if not isinstance(sealed, str) or self._cipher.is_current_text(sealed):
                continue
            if (plain := self._cipher.unseal_text(sealed)) == UNREADABLE:
                self._unreadable.add((name, place))
                continue
            entry[field] = self._cipher.seal_text(plain)
            changed = changed or bool(plain)
        return msgspec.json.encode(entry) if changed else None
