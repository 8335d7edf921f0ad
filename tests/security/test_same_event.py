"""What makes two events the same, and who may say so."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest
import redis as redis_py
from ulid import ULID

from service.intake.submissions import build_submissions, idempotency_field, idempotency_key
from service.sources.normalize import max_events, process_request
from service.sources.redact import redact_request
from service.sources.request import InboundRequest
from service.sources.schema import Source
from service.web.problems import HttpProblem
from tests.unit.sources.factories import NOW, form, json_post, source
from worker.accept.acceptor import Acceptor
from worker.accept.spool import Spool
from worker.contract import Receipt, Submission
from worker.encryption import Cipher
from worker.queue.rq_queue import open_queue
from worker.store.connection import connect_async

SIGNED = """
[sources.x]
adapter = "json"
[sources.x.read]
event_id = "id"
[sources.x.verify]
scheme = "hmac"
secret_env = "SECRET"
header = "X-Signature"
"""
SIGNED_HEADER_ID = (
    SIGNED.replace('[sources.x.read]\nevent_id = "id"\n', "") + 'id_header = "X-Id"\n'
)
UNSIGNED = 'adapter = "json"\n[sources.x.read]\nevent_id = "id"'
ADA = {"id": "e1", "email": "ada@acme.example"}
EVE = {"id": "e1", "email": "eve@acme.example"}


def loaded(toml: str) -> Source:
    return source(toml if "[sources.x]" in toml else f"[sources.x]\n{toml}", SECRET="s")


def signed(body: dict[str, str], **headers: str) -> InboundRequest:
    request = json_post(body)
    digest = hmac.new(b"s", request.body, hashlib.sha256).hexdigest()
    more = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return msgspec.structs.replace(
        request, headers=[*request.headers, ("x-signature", digest), *more]
    )


def keyed(request: InboundRequest, key: str) -> InboundRequest:
    return msgspec.structs.replace(request, headers=[*request.headers, ("idempotency-key", key)])


def built(toml: str, request: InboundRequest) -> Submission:
    """The one submission of a request, as the endpoint builds it."""
    one = loaded(toml)
    result = process_request(one, request, NOW)
    key = idempotency_key(request) or idempotency_field(result)
    raw = redact_request(one, request)
    [submission] = build_submissions(
        one, request, result, raw, key=key, now=NOW, new_id=lambda: str(ULID())
    )
    return submission


SAME, OTHER, CONFLICT = "same", "other", "conflict"
CASES = [
    ("a signed id with another body", SIGNED, signed(ADA), signed(EVE), SAME),
    (
        "a signed id with a key that somebody added",
        SIGNED,
        signed(ADA),
        signed(ADA, idempotency_key="k"),
        SAME,
    ),
    (
        "a signed id with a reused key",
        SIGNED,
        signed(ADA, idempotency_key="k"),
        signed(ADA | {"id": "e2"}, idempotency_key="k"),
        OTHER,
    ),
    ("an unsigned id with the same body", UNSIGNED, json_post(ADA), json_post(ADA), SAME),
    ("an unsigned id with another body", UNSIGNED, json_post(EVE), json_post(ADA), OTHER),
    (
        "an id in a header that is not signed, with another body",
        SIGNED_HEADER_ID,
        signed({"email": "eve@acme.example"}, x_id="e1"),
        signed({"email": "ada@acme.example"}, x_id="e1"),
        OTHER,
    ),
    (
        "a key with the same body",
        UNSIGNED,
        keyed(json_post(ADA), "k"),
        keyed(json_post(ADA), "k"),
        SAME,
    ),
    (
        "a key with another body",
        UNSIGNED,
        keyed(json_post(ADA), "k"),
        keyed(json_post(EVE), "k"),
        CONFLICT,
    ),
    (
        "a form's own key",
        "",
        form(email="ada@acme.example", _idempotency_key="k"),
        form(email="ada@acme.example", _idempotency_key="k"),
        SAME,
    ),
    (
        "a form's own key with another body",
        "",
        form(email="ada@acme.example", _idempotency_key="k"),
        form(email="eve@acme.example", _idempotency_key="k"),
        CONFLICT,
    ),
    (
        "a form that was filled in twice",
        "",
        form(email="ada@acme.example", _idempotency_key="k1"),
        form(email="ada@acme.example", _idempotency_key="k2"),
        OTHER,
    ),
]


def verdict(first: Receipt, second: Receipt) -> str:
    if second.conflict:
        return CONFLICT
    return SAME if second.duplicate and second.id == first.id else OTHER


@pytest.mark.parametrize(
    ("toml", "first", "second", "expected"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
@pytest.mark.parametrize("is_spooled", [False, True], ids=["redis", "spool"])
def test_who_may_say_that_two_events_are_the_same(
    redis: redis_py.Redis,
    redis_url: str,
    tmp_path: Path,
    toml: str,
    first: InboundRequest,
    second: InboundRequest,
    expected: str,
    *,
    is_spooled: bool,
) -> None:
    """Only what is signed decides alone; a guessed id or an added header takes nobody's place."""
    submissions = [built(toml, first), built(toml, second)]
    if is_spooled:
        spool = Spool(tmp_path, 1_000_000, Cipher())
        receipts = [spool.put([one], NOW)[0] for one in submissions]
        spool.close()
    else:

        async def accept() -> list[Receipt]:
            async with connect_async(redis_url) as store:
                acceptor = Acceptor(store, open_queue(redis), Cipher())
                await acceptor.start()
                try:
                    return [(await acceptor.accept([one]))[0] for one in submissions]
                finally:
                    await acceptor.stop()

        receipts = asyncio.run(accept())
    assert verdict(*receipts) == expected


def test_a_forms_key_is_no_answer() -> None:
    """A form's `_idempotency_key` is not part of the lead, and an unusable one is refused."""
    lead = built("", form(email="ada@acme.example", _idempotency_key="k")).lead
    assert lead is not None
    assert lead.answers == {}
    with pytest.raises(HttpProblem) as refused:
        built("", form(email="ada@acme.example", _idempotency_key="two words"))
    assert refused.value.kind == "idempotency-key"


def test_a_product_that_nobody_signs_has_no_batch_of_its_own() -> None:
    """Meta's batch of a thousand is for requests that Meta signed; a stranger has a hundred."""
    unsigned = 'adapter = "meta-lead-ads"\n[sources.x.verify]\nscheme = "none"'
    signed_by_meta = 'adapter = "meta-lead-ads"\n[sources.x.verify]\nsecret_env = "SECRET"'
    assert max_events(loaded(unsigned)) == 100
    assert max_events(loaded(signed_by_meta)) == 1000
