"""Caches the ids of people and organisations, because Pipedrive's search lags behind creates.

Keys are digests and values only ids. An entry is removed when Pipedrive says that the record is
gone, and on erasure.
"""

from __future__ import annotations

import redis
from msgspec import Struct

from worker.store import keys, scripts
from worker.store.connection import call_redis

CONTACT_SECONDS = 400 * 24 * 3600


class CachedPerson(Struct, frozen=True, kw_only=True):
    """What we know of a person. `lead_at` (Unix seconds) is when the lead was added.

    `created`: we created the person, so it has no open leads but ours. `restored_at` is the store's
    value when the person was remembered. After Redis was set back the store has another value
    (`worker.ledger.rollback`), and the person may have leads that we do not know about.
    """

    person_id: int
    created: bool = False
    lead_id: str | None = None
    lead_at: float | None = None
    restored_at: str = ""


class ContactCache:
    """The cache for one account. Every method may raise `StoreUnavailable`."""

    def __init__(
        self,
        connection: redis.Redis,
        submission_id: str = "",
        account: keys.Account = keys.DEFAULT_ACCOUNT,
    ) -> None:
        self._redis = connection
        self._account = account
        self._submission_id = submission_id

    def for_submission(self, submission_id: str) -> ContactCache:
        """The cache for one delivery: it stores no person once the submission is erased."""
        return ContactCache(self._redis, submission_id, self._account)

    def find_person(self, kind: str, value: str) -> CachedPerson | None:
        """Finds a person; `kind` is `email` or `phone`, `value` is normalised."""
        fields = call_redis(lambda: self._redis.hgetall(self._account.person(kind, value)))
        if not fields or b"person_id" not in fields:
            return None
        return CachedPerson(
            person_id=int(fields[b"person_id"]),
            created=fields.get(b"created") == b"1",
            lead_id=fields[b"lead_id"].decode() if b"lead_id" in fields else None,
            lead_at=float(fields[b"lead_at"]) if b"lead_at" in fields else None,
            restored_at=fields.get(b"restored_at", b"").decode(),
        )

    def remember_person(
        self, kind: str, value: str, person_id: int, *, created: bool, restored_at: str = ""
    ) -> None:
        person = {"person_id": person_id, "created": int(created)} | (
            {"restored_at": restored_at} if restored_at else {}
        )
        self._remember(self._account.person(kind, value), anew=True, **person)

    def remember_lead(self, kind: str, value: str, lead_id: str, added_at: float) -> None:
        self._remember(self._account.person(kind, value), lead_id=lead_id, lead_at=added_at)

    def forget_lead(self, kind: str, value: str) -> None:
        call_redis(
            lambda: self._redis.hdel(self._account.person(kind, value), "lead_id", "lead_at")
        )

    def forget_person(self, kind: str, value: str) -> None:
        call_redis(lambda: self._redis.delete(self._account.person(kind, value)))

    def forget_refused_person(self, kind: str, value: str, person_id: int) -> None:
        """Forget a person whom Pipedrive refused, unless another one is remembered by now."""
        self._forget(self._account.person(kind, value), person_id, field="person_id")

    def find_organization(self, name: str) -> int | None:
        """Find an organisation, and remember it for as long again."""
        key = self._account.organization(normalize_name(name))
        organization_id = call_redis(lambda: self._redis.getex(key, ex=CONTACT_SECONDS))
        return int(organization_id) if organization_id else None

    def remember_organization(self, name: str, organization_id: int) -> None:
        call_redis(
            lambda: self._redis.set(
                self._account.organization(normalize_name(name)),
                organization_id,
                ex=CONTACT_SECONDS,
            )
        )

    def forget_refused_organization(self, name: str, organization_id: int) -> None:
        """Forget an organisation that Pipedrive refused, unless another one is remembered by now.

        Leads of one organisation are delivered at the same time: another may have replaced it.
        """
        self._forget(self._account.organization(normalize_name(name)), organization_id)

    def _forget(self, key: str, contact_id: int, *, field: str | None = None) -> None:
        args = {"key": key, "field": field, "contact_id": contact_id}
        source = scripts.source("ledger/forget_contact")
        call_redis(lambda: scripts.run(self._redis, source, "", args))

    def _remember(self, key: str, *, anew: bool = False, **fields: str | float) -> None:
        args = {
            "id": self._submission_id or None,
            "key": key,
            "seconds": CONTACT_SECONDS,
            "anew": anew,
            "facts": fields,
        }
        call_redis(lambda: scripts.run(self._redis, scripts.source("ledger/remember"), "", args))


def normalize_name(name: str) -> str:
    """An organisation's name as it is compared: case and extra white space do not count."""
    return " ".join(name.split()).casefold()
