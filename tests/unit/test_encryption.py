"""The cipher: encrypts under the newest key, decrypts under any."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.encryption import Cipher, DecryptionError, parse_key


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


OLD, NEW = new_key(), new_key()


@given(st.binary(max_size=500))
def test_round_trip(data: bytes) -> None:
    """What is encrypted can be decrypted again, with keys and without."""
    for cipher in (Cipher(), Cipher([NEW])):
        assert cipher.decrypt(cipher.encrypt(data)) == data


def test_encrypted_bytes_are_unreadable_and_differ() -> None:
    """Encrypted bytes show nothing of the content and differ each time."""
    cipher = Cipher([NEW])
    first, second = cipher.encrypt(b"ann@example.com"), cipher.encrypt(b"ann@example.com")
    assert b"ann" not in first
    assert first != second
    assert b"ann@example.com" in Cipher().encrypt(b"ann@example.com")


def test_rotation() -> None:
    """After a new key is put in front, old and plain data can still be read."""
    plain, old = Cipher().encrypt(b"a"), Cipher([OLD]).encrypt(b"b")
    cipher = Cipher([NEW, OLD])
    assert (cipher.decrypt(plain), cipher.decrypt(old)) == (b"a", b"b")
    assert Cipher([NEW]).decrypt(cipher.encrypt(b"c")) == b"c"


def test_a_dropped_key_is_named() -> None:
    """Data under a key that is no longer listed says which setting lost it."""
    with pytest.raises(DecryptionError, match="LEADLINE_ENCRYPTION_KEYS"):
        Cipher([NEW]).decrypt(Cipher([OLD]).encrypt(b"x"))


@given(st.binary(max_size=80), st.integers(min_value=0, max_value=60))
def test_damage_is_noticed(rubbish: bytes, place: int) -> None:
    """Rubbish and altered bytes are never decrypted to something else."""
    cipher = Cipher([NEW])
    if rubbish[:1] != b"\x00":
        with pytest.raises(DecryptionError):
            cipher.decrypt(rubbish)
    encrypted = bytearray(cipher.encrypt(b"x" * 40))
    encrypted[place] ^= 0x40
    with pytest.raises(DecryptionError):
        cipher.decrypt(bytes(encrypted))


@pytest.mark.parametrize(
    "text", ["", "correct horse battery staple", "a" * 43 + "=", "c2hvcnQ=", "A" * 44, "é" * 44]
)
def test_passphrases_are_refused(text: str) -> None:
    """Only 32 random bytes in base64 are a key, and the refusal tells how to make one without
    showing the text.
    """
    with pytest.raises(ValueError, match="make one with") as caught:
        parse_key(text)
    assert not text or text not in str(caught.value)


def test_both_alphabets() -> None:
    """Plain and URL-safe base64, padded or not, are the same key."""
    key = bytes(range(224, 256))
    for text in (
        base64.b64encode(key).decode(),
        base64.urlsafe_b64encode(key).decode().rstrip("="),
    ):
        assert parse_key(text) == key
