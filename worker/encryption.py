"""Seals what is stored for a while: submissions and tokens, under the newest of several keys.

    byte 0      0x00: as it is        0x01: AES-256-GCM
    1-4         the first four bytes of SHA-256 of the key, so that opening tries the right key first
    5-16        nonce, random
    17-         ciphertext and its 16-byte tag; the header before is authenticated

Data sealed before a key was set, or under a key further back in the list, still opens; new data
takes the first key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLAIN = b"\x00"
SEALED = b"\x01"
KEY_BYTES = 32
HOW_TO_MAKE = 'python3 -c "import base64,os;print(base64.b64encode(os.urandom(32)).decode())"'

_NAME_BYTES, _NONCE_BYTES = 4, 12
_HEADER_BYTES = 1 + _NAME_BYTES + _NONCE_BYTES


class DecryptionError(Exception):
    """The bytes were sealed under a key we do not have, or are damaged."""


def parse_key(text: str) -> bytes:
    """The 32 bytes of a key written in base64 (plain or URL-safe); raises ValueError, never showing
    the text.
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
    """Seals under the first of `keys` (base64 text) and opens under any; without keys it passes
    bytes through.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        self._keys: dict[bytes, AESGCM] = {}
        for text in keys:
            key = parse_key(text)
            self._keys[hashlib.sha256(key).digest()[:_NAME_BYTES]] = AESGCM(key)

    @property
    def encrypts(self) -> bool:
        """Whether new data are encrypted."""
        return bool(self._keys)

    def encrypt(self, data: bytes) -> bytes:
        if not self._keys:
            return PLAIN + data
        name, cipher = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        header = SEALED + name + nonce
        return header + cipher.encrypt(nonce, data, header)

    def decrypt(self, data: bytes) -> bytes:
        """The bytes that were sealed; raises CannotOpen."""
        marker = data[:1]
        if marker == PLAIN:
            return data[1:]
        if marker != SEALED or len(data) <= _HEADER_BYTES:
            raise DecryptionError("these bytes were not sealed here")
        header, name, nonce = (
            data[:_HEADER_BYTES],
            data[1 : 1 + _NAME_BYTES],
            data[1 + _NAME_BYTES : _HEADER_BYTES],
        )
        cipher = self._keys.get(name)
        if cipher is None:
            raise DecryptionError(
                "sealed under a key that LEADLINE_ENCRYPTION_KEYS no longer lists"
            )
        try:
            return cipher.decrypt(nonce, data[_HEADER_BYTES:], header)
        except InvalidTag:
            raise DecryptionError("sealed bytes are damaged") from None

    def needs_reencryption(self, data: bytes) -> bool:
        """Whether sealing the content again would put it under a newer key (or under one at
        all).
        """
        return bool(self._keys) and data[: 1 + _NAME_BYTES] != SEALED + next(iter(self._keys))
