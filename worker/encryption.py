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
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLAIN = b"\x00"
ENCRYPTED = b"\x01"
KEY_BYTES = 32
HOW_TO_MAKE = 'python3 -c "import base64,os;print(base64.b64encode(os.urandom(32)).decode())"'

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
