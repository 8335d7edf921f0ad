"""What the accepting script takes of a submission. Encoded before it joins a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from worker.contract import State, Submission
from worker.encryption import Cipher
from worker.ledger.record import encrypt_content
from worker.metrics import SUBMISSIONS, series
from worker.store import keys

# Everything stored counts as `accepted`, so that accepted equals the sum of all states; these are
# counted under their own name as well.
ALSO_COUNTED = {State.QUARANTINED: "quarantined", State.IGNORED: "ignored"}


class EncodedSubmission(NamedTuple):
    """A submission, and its arguments in the order in which `ledger/accept.lua` reads them."""

    submission: Submission
    arguments: tuple[Any, ...]


def encode_submission(submission: Submission, cipher: Cipher) -> EncodedSubmission:
    """Raises what the encoder raises where a value cannot be encoded."""

    def counted_as(outcome: str) -> str:
        return series(SUBMISSIONS, source=submission.source, outcome=outcome)

    duplicate = submission.duplicate_key
    window = duplicate.window if duplicate else None
    also = ALSO_COUNTED.get(submission.state)
    return EncodedSubmission(
        submission,
        (
            submission.id,
            submission.source,
            submission.state,
            submission.received_at,
            encrypt_content(submission.lead, cipher) if submission.lead is not None else b"",
            encrypt_content(submission.raw, cipher),
            msgspec.json.encode(submission.cause) if submission.cause else b"",
            submission.why or "",
            duplicate_key_name(submission),
            duplicate.kind if duplicate else "",
            duplicate.fingerprint if duplicate else "",
            "" if window is None else str(int(window * 1000)),
            counted_as("accepted"),
            counted_as(also) if also else "",
            counted_as("duplicate"),
            msgspec.json.encode(submission.fetch) if submission.fetch else "",
            int(submission.precedence),
        ),
    )


def duplicate_key_name(submission: Submission) -> str:
    """The Redis key of its duplicate key; empty where it has none."""
    duplicate = submission.duplicate_key
    return keys.duplicate(submission.source, duplicate.kind, duplicate.value) if duplicate else ""
