"""One submission as the ledger holds it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from worker.contract import VERSION, Cause, Lead, Precedence, Raw, Result, State, Submission
from worker.encryption import Cipher, DecryptionError

OWN = frozenset(
    {"v", "source", "state", "received_at", "updated_at", "accepted_as", "precedence", "attempts",
    "crashes", "next_at", "reason",
     "duplicate_of"}
)  # fmt: skip
"""The fields that the ledger itself goes by: they mean the same in every version."""


class Record(Struct, frozen=True, kw_only=True):
    """The record of `leadline:submission:{id}`. Times are Unix seconds.

    `lead` and `raw` are sealed (`worker.encryption`) in Redis and open here; both are None once
    erased. `sealed`: they are there and cannot be opened by this process (a key is missing), or not
    read (they are damaged, or of a newer version: then only the ledger's own fields are read).
    `announced` names the create that was sent and has no recorded outcome yet.
    """

    id: str
    source: str
    state: State
    received_at: float
    updated_at: float
    accepted_as: State
    v: int = 1
    precedence: int = Precedence.WEBHOOK
    lead: Lead | None
    raw: Raw | None
    sealed: bool = False
    attempts: int = 0
    crashes: int = 0
    result: Result | None = None
    first_attempt_at: float | None = None
    next_at: float | None = None
    reason: str | None = None
    cause: Cause | None = None
    person_id: int | None = None
    person_created: bool = False
    organization_id: int | None = None
    lead_id: str | None = None
    note_id: int | None = None
    announced: str | None = None
    announced_at: float | None = None
    forgotten: bool = False
    replayed: bool = False
    edited_by: str | None = None
    duplicate_of: str | None = None
    fetch: dict[str, str] | None = None
    """Where the rest of an event that told ids alone is; None once it was fetched."""


def spooled_record(submission: Submission) -> Record:
    """How a submission reads that has not reached Redis yet."""
    return Record(
        id=submission.id,
        source=submission.source,
        state=submission.state,
        received_at=submission.received_at,
        updated_at=submission.received_at,
        accepted_as=submission.state,
        precedence=submission.precedence,
        lead=submission.lead,
        raw=submission.raw,
        cause=submission.cause,
        fetch=submission.fetch,
    )


def seal(value: Lead | Raw, cipher: Cipher) -> bytes:
    return cipher.encrypt(msgspec.msgpack.encode(value))


def decode(
    submission_id: str, fields: Mapping[bytes, bytes], cipher: Cipher, version: int = VERSION
) -> Record:
    """Reads a Redis hash into a `Record`. Unknown fields are left alone; of a newer version all but
    the ledger's own.

    Content that cannot be opened hides nothing else: people must see the record, and workers decide
    its fate.
    """
    text = {name.decode(): value for name, value in fields.items() if value != b""}
    newer = int(text.get("v", b"1")) > version
    if newer:
        text = {name: value for name, value in text.items() if name in OWN}
    plain = {
        name: value.decode()
        for name, value in text.items()
        if name not in ("lead", "raw", "cause", "fetch")
    }
    content: dict[str, Lead | Raw | bool | None] = {"lead": None, "raw": None, "sealed": newer}
    try:
        content["lead"] = (
            msgspec.msgpack.decode(cipher.decrypt(text["lead"]), type=Lead)
            if "lead" in text
            else None
        )
        content["raw"] = (
            msgspec.msgpack.decode(cipher.decrypt(text["raw"]), type=Raw) if "raw" in text else None
        )
    except (DecryptionError, msgspec.MsgspecError, UnicodeDecodeError):
        content["sealed"] = True
    cause = msgspec.json.decode(text["cause"], type=Cause) if "cause" in text else None
    fetch = msgspec.json.decode(text["fetch"], type=dict[str, str]) if "fetch" in text else None
    return msgspec.convert(
        plain | content | {"id": submission_id, "cause": cause, "fetch": fetch},
        Record,
        strict=False,
    )
