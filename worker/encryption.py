"""Encrypts stored submissions and tokens under the newest of several keys.

    byte 0      0x00: not encrypted   0x01: AES-256-GCM
    1-4         the first four bytes of the key's SHA-256, by which decryption finds the key
    5-16        random nonce
    17-         ciphertext and its 16-byte tag; the header before it is authenticated

New data is encrypted under the first key. Data stored before any key was set, or encrypted under a
later key in the list, can still be read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLAIN = b"\x00"
ENCRYPTED = b"\x01"
KEY_BYTES = 32
HOW_TO_MAKE = 'python3 -c "import base64,os;print(base64.b64encode(os.urandom(32)).decode())"'

# A sealed text within JSON, and what is shown for one whose key is missing.
SEALED = "sealed:"
UNREADABLE = "(encrypted under a key that is not listed)"
# URL-safe base64: Lua's JSON escapes the slash of the other one.
_SEALED_TEXT = re.compile(
    rb"sealed:((?:[A-Za-z0-9_-]{4})+(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?)"
)

_NAME_BYTES, _NONCE_BYTES = 4, 12
_HEADER_BYTES = 1 + _NAME_BYTES + _NONCE_BYTES


class DecryptionError(Exception):
    """The bytes were encrypted under a key we do not have, or are damaged."""


def parse_key(text: str) -> bytes:
    """Parses a key of 32 bytes in base64, standard or URL-safe.

    Raises ValueError; its message never shows the key.
    """
    standard = text.strip().replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES or len(set(key)) < 8:
        raise ValueError(
            f"expected 32 random bytes in base64, not a passphrase (make one with: {HOW_TO_MAKE})"
        )
    return key


class Cipher:
    """Encrypts under the first of `keys` (base64 text) and decrypts under any of them.

    Without keys it leaves data in plain text.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys: dict[bytes, AESGCM] = {}
        for text in keys:
            key = parse_key(text)
            self._keys[hashlib.sha256(key).digest()[:_NAME_BYTES]] = AESGCM(key)

    @property
    def is_encrypting(self) -> bool:
        return bool(self._keys)

    def is_current(self, data: bytes) -> bool:
        """Whether the bytes are encrypted under the first key."""
        return data.startswith(ENCRYPTED + next(iter(self._keys), b"\xff"))

    def seal(self, data: bytes) -> bytes:
        """Encrypts what was once stored in plain; without keys it stays as it is."""
        return self.encrypt(data) if self._keys else data

    def unseal(self, data: bytes) -> bytes:
        """The bytes that were sealed, or that were stored in plain; raises `DecryptionError`."""
        return self.decrypt(data) if data[:1] in (ENCRYPTED, PLAIN) else data

    def seal_text(self, text: str) -> str:
        """As `seal`, for a text within JSON."""
        if not self._keys or not text:
            return text
        return (
            SEALED
            + base64.urlsafe_b64encode(self.encrypt(text.encode("utf-8", "replace"))).decode()
        )

    def is_current_text(self, text: str) -> bool:
        """Whether a text within JSON is sealed under the first key."""
        match = _SEALED_TEXT.fullmatch(text.encode("utf-8", "replace"))
        return match is not None and self.is_current(base64.urlsafe_b64decode(match[1]))

    def unseal_text(self, text: str) -> str:
        """The text that was sealed; `UNREADABLE` where its key is missing."""
        if (match := _SEALED_TEXT.fullmatch(text.encode("utf-8", "replace"))) is None:
            return text
        try:
            return self.decrypt(base64.urlsafe_b64decode(match[1])).decode("utf-8", "replace")
        except (DecryptionError, binascii.Error):
            return UNREADABLE

    def map_sealed(self, data: bytes, change: Callable[[str], str]) -> bytes:
        """Changes each sealed text within `data`; those whose key is missing stay."""

        def changed(match: re.Match[bytes]) -> bytes:
            try:
                text = self.decrypt(base64.urlsafe_b64decode(match[1])).decode("utf-8", "replace")
            except (DecryptionError, binascii.Error):
                return match[0]
            new = change(text)
            return match[0] if new == text else self.seal_text(new).encode()

        return _SEALED_TEXT.sub(changed, data) if SEALED.encode() in data else data

    def encrypt(self, data: bytes) -> bytes:
        if not self._keys:
            return PLAIN + data
        name, cipher = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        header = ENCRYPTED + name + nonce
        return header + cipher.encrypt(nonce, data, header)

    def decrypt(self, data: bytes) -> bytes:
        """Returns the bytes that were encrypted; raises `DecryptionError`."""
        marker = data[:1]
        if marker == PLAIN:
            return data[1:]
        if marker != ENCRYPTED or len(data) <= _HEADER_BYTES:
            raise DecryptionError("these bytes were not written by this cipher")
        header, name, nonce = (
            data[:_HEADER_BYTES],
            data[1 : 1 + _NAME_BYTES],
            data[1 + _NAME_BYTES : _HEADER_BYTES],
        )
        cipher = self._keys.get(name)
        if cipher is None:
            raise DecryptionError(
                "encrypted under a key that LEADLINE_ENCRYPTION_KEYS no longer lists"
            )
        try:
            return cipher.decrypt(nonce, data[_HEADER_BYTES:], header)
        except InvalidTag:
            raise DecryptionError("encrypted bytes are damaged") from None
