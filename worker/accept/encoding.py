"""Encodes a submission for the accepting script, before it joins a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from worker.contract import EMPTY_RAW, STATES, State, Submission
from worker.encryption import Cipher
from worker.ledger.record import encrypt_content
from worker.metrics import LIMITED, SUBMISSIONS, series
from worker.store import keys, scripts

COUNTED_FIELDS = ("raw", "lead", "cause", "why", "fetch")


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
    all_args = []
    for submission in submissions:
        first = submission.raw_of
        has_raw = first is None or (first not in packed_raws and submission.raw != EMPTY_RAW)
        all_args.append((submission, _arguments(submission, cipher, with_raw=has_raw)))
        if first is not None and has_raw:
            packed_raws.add(first)
    _add_room(all_args)
    return [EncodedSubmission(submission, scripts.pack(args)) for submission, args in all_args]


def _add_room(all_args: Sequence[tuple[Submission, dict[str, Any]]]) -> None:
    """Adds the bytes that strangers' submissions take: each one, and its whole request.

    A raw body that several share counts with none of them but with the request.
    """
    requests: Counter[str] = Counter()
    for submission, args in all_args:
        if not submission.verified:
            size = sum(len(args.get(name) or "") for name in COUNTED_FIELDS)
            shared = len(args.get("raw", "")) if submission.raw_of else 0
            args["bytes"] = scripts.RECORD_BYTES + size - shared
            requests[submission.raw_of or submission.id] += scripts.RECORD_BYTES + size
    for submission, args in all_args:
        if not submission.verified:
            args["room"] = requests[submission.raw_of or submission.id]


def _arguments(submission: Submission, cipher: Cipher, *, with_raw: bool) -> dict[str, Any]:
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
    if submission.duplicate_of:
        args["duplicate_of"] = submission.duplicate_of
    if submission.raw_of:
        args["raw_of"] = submission.raw_of
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
    return args


def duplicate_key_name(submission: Submission) -> str:
    """The Redis key that holds the submission's duplicate key; empty if it has none."""
    duplicate = submission.duplicate_key
    return keys.duplicate(submission.source, duplicate.kind, duplicate.value) if duplicate else ""
