"""One submission as the ledger holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from worker.contract import (
    VERSION,
    Attempt,
    Cause,
    Lead,
    Moment,
    Precedence,
    Raw,
    Result,
    State,
    Submission,
)
from worker.encryption import Cipher, DecryptionError


class RefusedIds(Struct, frozen=True):
    """What Pipedrive refused last `at` (Unix seconds) and before, to be resolved afresh.

    `ids` maps `person`, `organization`, `lead` and kinds of metadata to the id that was refused;
    to None where names stand for the ids.
    """

    at: float
    ids: dict[str, int | str | None]


# The fields that the ledger itself uses; they mean the same in every version.
LEDGER_FIELDS = frozenset(
    {"v", "source", "state", "received_at", "updated_at", "accepted_as", "precedence", "attempts",
     "crashes", "next_at", "reason", "duplicate_of"}
)  # fmt: skip

# The fields with encoded values: content in encrypted MessagePack, the others in JSON.
CONTENT_TYPES: dict[str, type] = {"lead": Lead, "raw": Raw}
JSON_TYPES: dict[str, type] = {"cause": Cause, "fetch": dict[str, str], "refused": RefusedIds}

# Those that may quote the sender: encrypted where keys are set.
SEALED_FIELDS = frozenset({"cause", "fetch"})


class Record(Struct, frozen=True, kw_only=True):
    """The record in `leadline:submission:{id}`. Times are Unix seconds.

    `lead` and `raw` are encrypted in Redis (`worker.encryption`) and plain here; both are None once
    erased. `unreadable`: they exist, but this process lacks the key, or they are damaged or of a
    newer version; of a newer version only `LEDGER_FIELDS` are read. `announced` names the create
    that may have been sent and has no recorded outcome yet. `refused` is what is resolved afresh
    since the submission was accepted or a person retried it. `owner_id` is the owner whose turn it
    was; `files_done` counts the files that were attached, or refused. `fetch` says where to read
    the record behind an event that contains only ids; None once it was fetched. `verified` and
    `raw_of` are the submission's; older records have neither. A record with `raw_of` and without
    `raw` is one of several events of a request that held somebody who was erased.
    """

    id: str
    source: str
    state: State
    received_at: float
    updated_at: float
    accepted_as: State
    v: int = 1
    precedence: int = Precedence.WEBHOOK
    verified: bool = False
    raw_of: str | None = None
    lead: Lead | None
    raw: Raw | None
    unreadable: bool = False
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
    owner_id: int | None = None
    lead_id: str | None = None
    note_id: int | None = None
    files_done: int = 0
    announced: str | None = None
    announced_at: float | None = None
    refused: RefusedIds | None = None
    replayed: bool = False
    edited_by: str | None = None
    duplicate_of: str | None = None
    fetch: dict[str, str] | None = None

    @property
    def has_content(self) -> bool:
        """Whether anything of what was sent is still stored and can be read."""
        return self.lead is not None or self.raw is not None


def spooled_record(submission: Submission) -> Record:
    """The record that a spooled submission will have once it reaches Redis."""
    return Record(
        id=submission.id,
        source=submission.source,
        state=submission.state,
        received_at=submission.received_at,
        updated_at=submission.received_at,
        accepted_as=submission.state,
        precedence=submission.precedence,
        verified=submission.verified,
        raw_of=submission.raw_of,
        lead=submission.lead,
        raw=submission.raw,
        cause=submission.cause,
        fetch=submission.fetch,
    )


def seal_facts(facts: Mapping[str, Any], cipher: Cipher) -> dict[str, Any]:
    """The fields of a record with those sealed that quote the sender, as JSON in bytes or None."""
    return {
        name: cipher.seal(value) if name in SEALED_FIELDS and isinstance(value, bytes) else value
        for name, value in facts.items()
    }


def encode_attempt(attempt: Attempt, cipher: Cipher) -> bytes:
    detail = cipher.seal_text(attempt.detail) if attempt.detail else attempt.detail
    return msgspec.json.encode(structs.replace(attempt, detail=detail))


def decode_attempt(text: bytes, cipher: Cipher) -> Attempt:
    attempt = msgspec.json.decode(text, type=Attempt)
    detail = cipher.unseal_text(attempt.detail) if attempt.detail else attempt.detail
    return structs.replace(attempt, detail=detail)


def decode_moment(text: bytes, cipher: Cipher) -> Moment:
    moment = msgspec.json.decode(text, type=Moment)
    return structs.replace(moment, why=cipher.unseal_text(moment.why) if moment.why else moment.why)


def encrypt_content(value: Lead | Raw, cipher: Cipher) -> bytes:
    return cipher.encrypt(msgspec.msgpack.encode(value))


def decode_record(
    submission_id: str, fields: Mapping[bytes, bytes], cipher: Cipher, version: int = VERSION
) -> Record:
    """Decodes the fields of a Redis hash; unknown fields are ignored.

    If the content cannot be read, the other fields still are: people must see the record, and
    workers decide its fate.
    """
    stored = {name.decode(): value for name, value in fields.items() if value != b""}
    newer = int(stored.get("v", b"1")) > version
    if newer:
        stored = {name: value for name, value in stored.items() if name in LEDGER_FIELDS}
    encoded = CONTENT_TYPES.keys() | JSON_TYPES.keys()
    values: dict[str, Any] = {"id": submission_id, "lead": None, "raw": None, "unreadable": newer}
    values |= {name: value.decode() for name, value in stored.items() if name not in encoded}
    try:
        for name, json_type in JSON_TYPES.items():
            if name in stored:
                values[name] = msgspec.json.decode(cipher.unseal(stored[name]), type=json_type)
        for name, content_type in CONTENT_TYPES.items():
            if name in stored:
                content = cipher.decrypt(stored[name])
                values[name] = msgspec.msgpack.decode(content, type=content_type)
    except (DecryptionError, msgspec.MsgspecError, UnicodeDecodeError):
        values["unreadable"] = True
    return msgspec.convert(values, Record, strict=False)
