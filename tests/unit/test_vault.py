"""The vault: sealed under the newest key, opened under any."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.encryption import CannotOpen, Vault, parse_key


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


OLD, NEW = new_key(), new_key()


@given(st.binary(max_size=500))
def test_round_trip(data: bytes) -> None:
    """What is sealed opens again, with keys and without."""
    for vault in (Vault(), Vault([NEW])):
        assert vault.open(vault.seal(data)) == data


def test_sealed_is_unreadable_and_unlike() -> None:
    """Sealed bytes show nothing of the content and differ each time."""
    vault = Vault([NEW])
    first, second = vault.seal(b"ann@example.com"), vault.seal(b"ann@example.com")
    assert b"ann" not in first
    assert first != second
    assert b"ann@example.com" in Vault().seal(b"ann@example.com")


def test_rotation() -> None:
    """After a new key is put in front, old and unsealed data still open and are known to need
    sealing anew.
    """
    unsealed, old = Vault().seal(b"a"), Vault([OLD]).seal(b"b")
    vault = Vault([NEW, OLD])
    assert (vault.open(unsealed), vault.open(old)) == (b"a", b"b")
    assert vault.needs_resealing(unsealed)
    assert vault.needs_resealing(old)
    assert not vault.needs_resealing(vault.seal(b"c"))
    assert not Vault().needs_resealing(unsealed)
    assert Vault([NEW]).open(vault.seal(b"c")) == b"c"


def test_a_dropped_key_is_named() -> None:
    """Data under a key that is no longer listed says which setting lost it."""
    with pytest.raises(CannotOpen, match="LEADLINE_ENCRYPTION_KEYS"):
        Vault([NEW]).open(Vault([OLD]).seal(b"x"))


@given(st.binary(max_size=80), st.integers(min_value=0, max_value=60))
def test_damage_is_noticed(rubbish: bytes, place: int) -> None:
    """Rubbish and altered bytes never open as something else."""
    vault = Vault([NEW])
    if rubbish[:1] != b"\x00":
        with pytest.raises(CannotOpen):
            vault.open(rubbish)
    sealed = bytearray(vault.seal(b"x" * 40))
    sealed[place] ^= 0x40
    with pytest.raises(CannotOpen):
        vault.open(bytes(sealed))


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
