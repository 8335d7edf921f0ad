"""Bodies and headers as hostile as 256 KiB allow: for whoever must stay quick whatever comes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote_plus

from tests.unit.sources.factories import FORM, JSON

SIZE = 262_144
MULTIPART = "multipart/form-data; boundary=x"
MARKS = "\u0301"


def hostile_bodies() -> Iterator[tuple[str, str, bytes]]:
    """`(name, content type, body)`; each body has at most `SIZE` bytes, and comes close to it."""
    for name, body in {**_forms(), **_multiparts(), **_json()}.items():
        kind = (
            FORM if name.startswith("form") else MULTIPART if name.startswith("multipart") else JSON
        )
        yield name, kind, body[:SIZE]
    yield "text: JSON", "text/plain", _filled('{{"email": "{}"}}', "a" * SIZE)


def _filled(template: str, text: str) -> bytes:
    """A JSON template with as much of the text as there is room for."""
    room = SIZE - len(template.encode()) - 8
    return template.format(text.encode()[:room].decode("utf-8", "ignore")).encode()


def _forms() -> dict[str, bytes]:
    each = SIZE // 500 - 12
    return {
        "form: many pairs": b"&".join(b"f%d=%d" % (number, number) for number in range(20_000)),
        "form: 500 large pairs": b"&".join(
            b"field%03d=" % number + b"a" * each for number in range(500)
        ),
        "form: 500 percents": b"&".join(
            b"f%03d=" % number + b"%25" * (each // 3) for number in range(500)
        ),
        "form: one name again": b"&".join(b"email=a%d" % number for number in range(500)),
        "form: one long word": b"email=" + b"a" * SIZE,
        "form: percents": b"email=" + b"%" * SIZE,
        "form: escapes": b"message=" + b"%41" * (SIZE // 3),
        "form: long names": b"&".join(b"e" * each + b"%d=x" % number for number in range(500)),
        "form: brackets": b"&".join(
            b"a" + b"[b]" * 160 + b"%d=x" % number for number in range(499)
        ),
        "form: open brackets": b"[" * SIZE,
        "form: an address of labels": b"email=" + quote_plus("a@" + "a." * 80_000).encode(),
        "form: marks": b"name=" + quote_plus("a" + MARKS * 40_000).encode(),
        "form: 500 names in marks": b"&".join(
            quote_plus(f"{n}" + MARKS * 70).encode() + b"=1" for n in range(500)
        ),
        "form: 500 addresses": b"&".join(
            b"email%d=" % n + b"a." * 200 + b"@" + b"b." * 20 + b"c" for n in range(500)
        ),
        "form: 500 phones": b"&".join(b"phone%d=%%2B" % n + b"1" * each for n in range(500)),
        "form: a page of parameters": (
            b"page_url=https://a.example/?" + b"utm_source%3Da%26" * 15_000
        ),
        "form: placeholders": b"utm_source=" + b"{{" * 130_000,
        "form: blanks": b"name=" + b"+" * SIZE,
        "form: blanks between": b"name=" + b"a+" * (SIZE // 2),
        "form: camels": b"&".join(b"aB" * (each // 2) + b"%d=x" % number for number in range(500)),
        "form: numbers in names": b"&".join(
            b"a1" * (each // 2) + b"%d=x" % number for number in range(500)
        ),
        "form: amounts": b"value=" + b"1," * (SIZE // 2),
        "form: JSON in a field": (
            b"data.json="
            + quote_plus(json.dumps([[0] * 400] * 12)).encode()
            + b"&rawRequest="
            + b"[" * 200_000
        ),
        "form: nothing but ampersands": b"&" * SIZE,
        "form: nul": b"\0" * SIZE,
        "form: not UTF-8": b"name=" + b"\xff" * SIZE,
    }


def _multiparts() -> dict[str, bytes]:
    part = b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nv\r\n'
    return {
        "multipart: many parts": b"".join(part % number for number in range(4_000)) + b"--x--\r\n",
        "multipart: 500 parts": b"".join(part % number for number in range(490)) + b"--x--\r\n",
        "multipart: a long header": b'--x\r\nContent-Disposition: form-data; name="' + b"a" * SIZE,
        "multipart: many parameters": (
            b"--x\r\nContent-Disposition: form-data" + b'; a="b"' * 30_000 + b"\r\n\r\nv\r\n--x--"
        ),
        "multipart: quotes": (
            b'--x\r\nContent-Disposition: form-data; name="'
            + b'\\"' * 130_000
            + b'"\r\n\r\nv\r\n--x--'
        ),
        "multipart: headers": b"--x\r\n" + b"A: b\r\n" * 40_000 + b"\r\nv\r\n--x--",
        "multipart: almost boundaries": (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"\r\n--" * 65_000
        ),
        "multipart: dashes": b"-" * SIZE,
        "multipart: one value": (
            b'--x\r\nContent-Disposition: form-data; name="message"\r\n\r\n'
            + b"a" * 261_900
            + b"\r\n--x--\r\n"
        ),
        "multipart: a file": (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
            + b"\0" * 261_900
            + b"\r\n--x--"
        ),
    }


def _json() -> dict[str, bytes]:
    wide = json.dumps({f"email {number}": "x" * 500 for number in range(490)})
    rows = [
        {"name": f"n{number}", "value": f"v{number}", "email": "a@b.example"}
        for number in range(100)
    ]
    field = {
        "key": "q",
        "label": "Your e-mail, please",
        "type": "INPUT_EMAIL",
        "value": "a@b.example",
    }
    answer = {
        "type": "email",
        "email": "a@b.example",
        "field": {"id": "f", "type": "email", "ref": "r"},
    }
    table = json.dumps(dict.fromkeys(map(str, range(400)), "aaaaaaaaaaaaaaaaaa"))
    return {
        "json: deep lists": b"[" * SIZE,
        "json: deep objects": b'{"a":' * (SIZE // 5),
        "json: deep enough": (b'{"data":' * 30) + b'{"email": "a@b.example"}' + b"}" * 30,
        "json: wide": wide.encode(),
        "json: many values": json.dumps({f"k{n}": list(range(11)) for n in range(490)}).encode(),
        "json: many keys": json.dumps(dict.fromkeys(map(str, range(20_000)), 1)).encode(),
        "json: many objects": (
            json.dumps(
                {"data": rows, "fields": rows, "payload": {"data": dict.fromkeys("abc", rows)}}
            ).encode()
        ),
        "json: many events": (
            json.dumps([{"email": "a@b.example", "name": "x" * 2_000} for _ in range(100)]).encode()
        ),
        "json: one long text": _filled('{{"message": "{}"}}', "a" * SIZE),
        "json: one long key": _filled('{{"{}": 1}}', "a" * SIZE),
        "json: one long camel": _filled('{{"{}": 1}}', "aB1" * SIZE),
        "json: long keys": json.dumps({"e" * 500 + str(n): "x" for n in range(490)}).encode(),
        "json: keys in marks": (
            json.dumps({f"{n}" + MARKS * 80: "x" for n in range(490)}, ensure_ascii=False).encode()
        ),
        "json: sentences": (
            json.dumps(
                {("please tell us your e mail " * 7) + str(n): "x@y" for n in range(490)}
            ).encode()
        ),
        "json: phones": json.dumps({f"phone {n}": "+1 " + "5" * 300 for n in range(490)}).encode(),
        "json: addresses": (
            json.dumps({f"email {n}": "a@" + "b." * 120 + "c" for n in range(490)}).encode()
        ),
        "json: names in objects": (
            json.dumps({"name": {f"first {n}": "a" * 400 for n in range(490)}}).encode()
        ),
        "json: quotes": b'"' * SIZE,
        "json: escapes": _filled('{{"message": "{}"}}', "\\\\u0041" * (SIZE // 7)),
        "json: backslashes": b'{"a": "' + b"\\" * SIZE,
        "json: unclosed texts": b'{"a": "' + b'", "' * (SIZE // 4),
        "json: digits": b'{"phone": ' + b"9" * 200_000 + b"}",
        "json: an exponent": b'{"value": 1e' + b"9" * 200_000 + b"}",
        "json: blanks": b" " * (SIZE - 2) + b"{}",
        "json: marks": _filled('{{"name": "{}"}}', "a" + MARKS * 130_000),
        "json: ideographs": _filled('{{"name": "{}"}}', "\u4e2d" * 90_000),
        "json: ligatures": _filled('{{"name": "{}"}}', "\ufdfa" * 90_000),
        "json: controls": _filled('{{"message": "{}"}}', "\\u0000" * 45_000),
        "json: lines": _filled('{{"message": "{}"}}', "\\r\\n" * 65_000),
        "json: a page": _filled(
            '{{"page_url": "https://a.example/?{}"}}', "utm_source=a&" * 20_000
        ),
        "json: pages": (
            json.dumps(
                {f"landing page {n}": "https://a.example/?" + "gclid=a&" * 60 for n in range(490)}
            ).encode()
        ),
        "json: typeform": (
            json.dumps(
                {"form_response": {"answers": [answer] * 450, "definition": {"fields": []}}}
            ).encode()
        ),
        "json: tally": (
            json.dumps({"eventType": "FORM_RESPONSE", "data": {"fields": [field] * 490}}).encode()
        ),
        "json: meta": (
            json.dumps(
                {
                    "entry": [
                        {"changes": [{"field": "leadgen", "value": {"leadgen_id": str(n)}}]}
                        for n in range(480)
                    ]
                }
            ).encode()
        ),
        "json: hubspot": (
            json.dumps(
                [
                    {"subscriptionType": "contact.creation", "objectId": n, "eventId": n}
                    for n in range(490)
                ]
            ).encode()
        ),
        "json: properties": (
            json.dumps(
                {"properties": {f"email{n}": {"value": "a@b.example" * 20} for n in range(490)}}
            ).encode()
        ),
        "json: columns": (
            json.dumps(
                {
                    "user_column_data": [
                        {"column_id": "EMAIL", "string_value": "a" * 400} for _ in range(490)
                    ]
                }
            ).encode()
        ),
        "json: booking": (
            json.dumps(
                {
                    "event": "invitee.created",
                    "payload": {
                        "questions_and_answers": (
                            [{"question": "e-mail?", "answer": "x" * 400}] * 480
                        )
                    },
                }
            ).encode()
        ),
        "json: shopify": json.dumps({"addresses": [json.loads(table)] * 12}).encode(),
        "json: intercom": (
            json.dumps(
                {
                    "type": "notification_event",
                    "data": {
                        "item": {
                            "type": "contact",
                            "custom_attributes": {f"e mail {n}": "x" * 400 for n in range(490)},
                        }
                    },
                }
            ).encode()
        ),
    }


def hostile_headers() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """`(name, headers)`: what a signature's reader may stumble over."""
    names = (
        "x-signature", "x-timestamp", "x-id", "x-key", "authorization", "webhook-id",
        "webhook-timestamp", "webhook-signature",
        "svix-signature", "typeform-signature", "x-hub-signature", "x-hub-signature-256",
        "x-webhook-signature",
        "calendly-webhook-signature", "x-hubspot-signature", "x-hubspot-signature-v3",
        "x-shopify-hmac-sha256", "x-li-signature",
        "x-webflow-signature", "tally-signature", "stripe-signature",
    )  # fmt: skip
    token = base64.b64encode(b'{"alg":"HS256"}').decode()
    values = {
        "long": "a" * 8_192,
        "longer": "a" * SIZE,
        "commas": "t=1,v1=" + "a,v1=" * 1_600,
        "blanks": "v1, " * 2_000,
        "dots": "." * 8_000,
        "token": f"{token}.{base64.b64encode(b'[' * 2_500).decode()}.{'a' * 40}",
        "base64": "v1," + "AAAA" * 2_000,
        "equals": "=" * 8_000,
        "hex": "f" * 8_000,
        "digits": "9" * 8_000,
        "not ASCII": "\xff\u20ac" * 2_000,
    }
    for name, value in values.items():
        yield name, [(one, value) for one in names]
    yield "many", [(one, str(number)) for number in range(300) for one in names[:8]]
