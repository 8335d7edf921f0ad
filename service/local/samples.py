"""The submissions of `leadline demo`: one of every kind, with its expected outcome."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping

from msgspec import Struct

from worker.contract import Result, State

# Appended to the packaged source file.
WEBINAR = """

# Added by the demo: the account does not have this label yet, as happens when marketing is
# quicker than sales.
[sources.webinar]
adapter = "form"

[sources.webinar.lead]
title = "{name|email} for {form_name}"
labels = ["Webinar"]
channel = "Marketplace"
"""

MISSING_LABEL = "Webinar"


class DemoSample(Struct, frozen=True, kw_only=True):
    """`status` is the expected answer, `state` and `result` the expected end.

    A `state` of None: nothing is stored.
    """

    name: str
    source: str
    headers: dict[str, str]
    body: bytes
    status: int
    state: State | None
    result: Result | None = None
    duplicate: bool = False


def build_samples(env: Mapping[str, str], now: float) -> list[DemoSample]:
    """The samples in the order in which they are posted. `env` holds the sources' secrets."""
    form = {
        "content-type": "application/x-www-form-urlencoded",
        "accept": "text/html,application/xhtml+xml",
    }
    program = {"content-type": "application/json", "accept": "application/json"}
    partner = program | {"x-key": env["PARTNER_KEY"]}
    partner_body = _json(
        lead={
            "id": "crm-4711",
            "contact": {
                "fullName": "Grace Hopper",
                "email": "grace@navy.example",
                "mobilePhone": "+1 202 555 0143",
            },
            "company": "Navy Labs",
            "budget": "12000",
            "message": "Our compiler team needs seats for forty people.",
        }
    )
    return [
        DemoSample(
            name="web form, paid search",
            source="contact",
            headers=form,
            body=b"name=Ada+Lovelace&email=ada%40engines.example&company=Analytical+Engines&message=Please+call+me.&budget=5000"
            b"&utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=Cj0KCQexample&website=",
            status=303,
            state=State.DELIVERED,
            result=Result.CREATED,
        ),
        DemoSample(
            name="same person again",
            source="contact",
            headers=form,
            body=b"name=Ada+Lovelace&email=ada%40engines.example&message=One+more+question.&utm_source=newsletter&website=",
            status=303,
            state=State.DELIVERED,
            result=Result.LABELLED,
        ),
        DemoSample(
            name="JSON sent as text",
            source="contact",
            headers={"content-type": "text/plain;charset=UTF-8", "accept": "*/*"},
            body=_json(
                Vorname="Zoë",
                Nachname="Müller",
                Mail="zoe@beispiel.example",
                Nachricht="Bitte um Angebot",
            ),
            status=202,
            state=State.DELIVERED,
            result=Result.CREATED,
        ),
        DemoSample(
            name="signed webhook",
            source="webhook",
            headers=program | _signature(env["WEBHOOK_SECRET"], WEBHOOK, now),
            body=WEBHOOK,
            status=202,
            state=State.DELIVERED,
            result=Result.CREATED,
        ),
        DemoSample(
            name="forged webhook",
            source="webhook",
            headers=program | _signature("not the secret", WEBHOOK, now),
            body=WEBHOOK,
            status=401,
            state=None,
        ),
        DemoSample(
            name="partner JSON",
            source="partner",
            headers=partner,
            body=partner_body,
            status=202,
            state=State.DELIVERED,
            result=Result.CREATED,
        ),
        DemoSample(
            name="the same event again",
            source="partner",
            headers=partner,
            body=partner_body,
            status=202,
            state=State.DELIVERED,
            result=Result.CREATED,
            duplicate=True,
        ),
        DemoSample(
            name="test event",
            source="partner",
            headers=partner,
            body=_json(lead={"id": "t-1", "test": True, "contact": {"email": "test@navy.example"}}),
            status=202,
            state=State.IGNORED,
        ),
        DemoSample(
            name="spam",
            source="contact",
            headers=form,
            body=b"name=Best+Prices&email=win%40spam.example&message=Cheap&website=http%3A%2F%2Fspam.example",
            status=303,
            state=State.QUARANTINED,
        ),
        DemoSample(
            name="label not in Pipedrive",
            source="webinar",
            headers=program,
            body=_json(
                name="Alan Turing",
                email="alan@bletchley.example",
                form_name="Webinar 12",
                utm_campaign="autumn",
            ),
            status=202,
            state=State.DEAD,
        ),
    ]


WEBHOOK = json.dumps(
    {
        "id": "evt_1001",
        "type": "form.submitted",
        "livemode": True,
        "data": {
            "first_name": "Katherine",
            "last_name": "Johnson",
            "email": "katherine@orbits.example",
            "phone": "+1 757 555 0100",
            "message": "Trajectory review, please.",
            "utm_source": "linkedin",
            "utm_campaign": "orbit",
        },
    }
).encode()


def _json(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def _signature(secret: str, body: bytes, now: float) -> dict[str, str]:
    stamp = str(int(now))
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"x-timestamp": stamp, "x-signature": f"sha256={digest}"}
