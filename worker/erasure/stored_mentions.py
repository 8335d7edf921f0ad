"""Replaces an address by `[erased]` wherever else it stands in Redis, in any type of key.

A lead of somebody else that mentions the person stays, without the address. So do entries of the
audit trail, reasons, causes, bulk edits and alerts.
"""

from __future__ import annotations

import zlib
from contextlib import suppress

import msgspec

from worker.encryption import ENCRYPTED, PLAIN, DecryptionError
from worker.ledger import Ledger
from worker.ledger.email_search import EmailPattern
from worker.ledger.value_rewriter import ValueRewriter
from worker.store import keys


class StoredMentions(ValueRewriter):
    """Redacts one address. `unreadable` counts what cannot be decrypted."""

    def __init__(self, ledger: Ledger, pattern: EmailPattern) -> None:
        super().__init__(ledger)
        self._cipher = ledger.cipher
        self._pattern = pattern
        self.unreadable = 0

    def skips(self, name: str) -> bool:
        """Keys that hold only ids, and the records, which the caller has read."""
        if name.startswith(keys.submission("")):
            return ":" not in name.removeprefix(keys.submission(""))
        return name.startswith(keys.IDS_ONLY)

    def change(self, text: bytes, *_: object) -> bytes | None:
        """The element without the address."""
        if text[:1] not in (ENCRYPTED, PLAIN):
            return self._redact_plain(text)
        try:
            content = self._cipher.decrypt(text)
        except DecryptionError:
            self.unreadable += 1
            return None
        tree = _decode(content)
        if not self._pattern.occurs_in(tree):
            return None
        redacted = self._pattern.redact(tree)
        return self._cipher.encrypt(
            redacted if isinstance(redacted, bytes) else msgspec.msgpack.encode(redacted)
        )

    def _redact_plain(self, text: bytes) -> bytes | None:
        opened = self._cipher.map_sealed(text, self._pattern.redact)
        if not self._pattern.occurs_in(_decompress(opened)):
            return opened if opened != text else None
        return self._pattern.redact(opened)


def _decode(content: bytes) -> object:
    """The tree that was stored, else the bytes as they are."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError):
        tree = msgspec.msgpack.decode(content)
        if isinstance(tree, dict | list):
            return tree
    return content


def _decompress(text: bytes) -> bytes:
    """RQ compresses what it stores of a job."""
    if text[:1] != b"\x78":
        return text
    try:
        return zlib.decompressobj().decompress(text, 1_000_000)
    except zlib.error:
        return text
