"""Encodes a submission for the accepting script, before it joins a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from worker.contract import STATES, State, Submission
from worker.encryption import Cipher
from worker.ledger.record import encrypt_content
from worker.metrics import LIMITED, SUBMISSIONS, series
from worker.store import keys, scripts


class EncodedSubmission(NamedTuple):
    """A submission, and its fields packed as `ledger/accept.lua` reads them."""

    submission: Submission
    packed: bytes


def encode_submission(submission: Submission, cipher: Cipher) -> EncodedSubmission:
    """Packs a submission; raises what the encoder raises if a value cannot be encoded."""

    def counted_as(outcome: str) -> str:
        return series(SUBMISSIONS, source=submission.source, outcome=outcome)

    args: dict[str, Any] = {
        "id": submission.id,
        "source": submission.source,
        "state": submission.state,
        "received_at": submission.received_at,
        "raw": encrypt_content(submission.raw, cipher),
        "precedence": int(submission.precedence),
        "verified": int(submission.verified),
        "accepted": counted_as("accepted"),
        "duplicate": counted_as("duplicate"),
    }
    if submission.lead is not None:
        args["lead"] = encrypt_content(submission.lead, cipher)
    if submission.cause:
        args["cause"] = cipher.seal(msgspec.json.encode(submission.cause))
    if submission.why:
        args["why"] = cipher.seal_text(submission.why)
    if submission.fetch:
        args["fetch"] = cipher.seal(msgspec.json.encode(submission.fetch))
    if STATES[submission.state].counted:
        args["also"] = counted_as(submission.state)
    if submission.leads_per_hour is not None:
        args["leads_per_hour"] = submission.leads_per_hour
        args["flooded"] = counted_as(State.QUARANTINED)
        args["limited"] = series(LIMITED, source=submission.source, bound="leads_per_hour")
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
