"""Encodes a submission for the accepting script, before it joins a batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from worker.contract import STATES, Raw, Submission
from worker.encryption import Cipher
from worker.ledger.record import encrypt_content
from worker.metrics import SUBMISSIONS, series
from worker.store import keys, scripts

# What is left of a request whose bytes were dropped.
EMPTY_RAW = Raw(method="", query="", content_type="", headers=[], body=b"")


class EncodedSubmission(NamedTuple):
    """A submission, and its fields packed as `ledger/accept.lua` reads them."""

    submission: Submission
    packed: bytes


def encode_submissions(
    submissions: Iterable[Submission], cipher: Cipher
) -> list[EncodedSubmission]:
    """Packs submissions of one batch; raises what the encoder raises if a value cannot be encoded.

    The raw body of a request is packed with the first of its events only. None of them gets it if
    it has been dropped (`EMPTY_RAW`), because it holds somebody who was erased.
    """
    packed_raws: set[str] = set()
    encoded = []
    for submission in submissions:
        first = submission.raw_of
        has_raw = first is None or (first not in packed_raws and submission.raw != EMPTY_RAW)
        encoded.append(_encode(submission, cipher, with_raw=has_raw))
        if first is not None and has_raw:
            packed_raws.add(first)
    return encoded


def _encode(submission: Submission, cipher: Cipher, *, with_raw: bool) -> EncodedSubmission:

    def counted_as(outcome: str) -> str:
        return series(SUBMISSIONS, source=submission.source, outcome=outcome)

    args: dict[str, Any] = {
        "id": submission.id,
        "source": submission.source,
        "state": submission.state,
        "received_at": submission.received_at,
        "precedence": int(submission.precedence),
        "verified": int(submission.verified),
        "accepted": counted_as("accepted"),
        "duplicate": counted_as("duplicate"),
    }
    if with_raw:
        args["raw"] = encrypt_content(submission.raw, cipher)
    if submission.raw_of:
        args["raw_of"] = submission.raw_of
    if submission.lead is not None:
        args["lead"] = encrypt_content(submission.lead, cipher)
    if submission.cause:
        args["cause"] = msgspec.json.encode(submission.cause)
    if submission.why:
        args["why"] = submission.why
    if submission.fetch:
        args["fetch"] = msgspec.json.encode(submission.fetch)
    if STATES[submission.state].counted:
        args["also"] = counted_as(submission.state)
    if duplicate := submission.duplicate_key:
        args["duplicate_key"] = duplicate_key_name(submission)
        args["duplicate_kind"] = duplicate.kind
        args["fingerprint"] = duplicate.fingerprint
        if duplicate.window is not None:
            args["window"] = int(duplicate.window * 1000)
    return EncodedSubmission(submission, scripts.pack(args))


def duplicate_key_name(submission: Submission) -> str:
    """The Redis key that holds the submission's duplicate key; empty if it has none."""
    duplicate = submission.duplicate_key
    return keys.duplicate(submission.source, duplicate.kind, duplicate.value) if duplicate else ""
