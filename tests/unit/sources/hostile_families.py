"""Families of hostile bodies: many of one kind that differ in script, sign or kind of value."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote_plus, urlencode

from tests.unit.sources.factories import FORM, JSON

SIZE = 262_144
MULTIPART = "multipart/form-data; boundary=x"

# A character of each script, and some that become many others, or none, when they are normalised.
SCRIPTS = {
    "latin": "a", "umlauts": "ä", "sharp s": "ß", "decomposed": "e\u0301", "ligatures": "ﬃ",
    "a sentence in one sign": "\ufdfa", "cyrillic": "й", "greek": "ᾳ", "turkish": "İ",
    "arabic": "ا", "hebrew": "א", "ideographs": "名", "hiragana": "が", "hangul": "가",
    "half-width": "ﾒ", "circled": "㊑", "emoji": "🙂", "marks alone": "\u0301", "camels": "aB",
    "mixed": "aЖ名1", "digits": "1a",
}  # fmt: skip
SEPARATORS = ("/", "|", ";", " - ", "(", "・", "*", ", ", "\n", "【】")
OWNERS = (
    "user", "agent", "owner", "assignee", "recruiter", "host", "organizer", "referrer", "receiver",
    "site", "browser", "friend", "parent", "guardian", "company", "contact", "customer", "attendee",
    "guest", "lead", "account", "hotel", "pet", "order", "booking",
)  # fmt: skip
FOREIGN = "zoë{0}@bücher{0}.example"


def family_bodies() -> Iterator[tuple[str, str, bytes]]:
    """`(name, content type, body)`, none larger than what is accepted."""
    for families in (_batches, _labels, _owners, _values, _shapes):
        for name, body in families():
            yield f"{families.__name__[1:]}: {name}", JSON, body
    yield from _encodings()


def _fill(
    build: Callable[..., Any], filled: int, encode: Callable[[Any], bytes] | None = None
) -> bytes:
    """The largest that fits of what is built of a number of parts."""
    write = encode or (lambda value: json.dumps(value, ensure_ascii=False).encode())
    several, many = 1, filled
    while several < many:
        middle = (several + many + 1) // 2
        several, many = (
            (middle, many) if len(write(build(middle))) <= SIZE else (several, middle - 1)
        )
    return write(build(several))


def _batches() -> Iterator[tuple[str, bytes]]:
    """A hundred events in one body: what each costs counts a hundred times."""
    fields: dict[str, Callable[[int, int], tuple[str, Any]]] = {
        "foreign addresses": lambda e, f: (f"email {f}", FOREIGN.format(f"{e}x{f}")),
        "foreign addresses with names": lambda e, f: (
            f"email {f}", f"Zoë {e} <{FOREIGN.format(f)}>; {FOREIGN.format(e)}"),
        "addresses of unknown names": lambda e, f: (f"zz{f}", FOREIGN.format(f"{e}x{f}")),
        "no addresses": lambda _, f: (f"email {f}", "a@" + "ä." * 30 + "c"),
        "national numbers": lambda e, f: (f"phone {f}", f"0170 {1_000_000 + 100 * e + f}"),
        "numbers of unknown names": lambda e, f: (f"zz{f}", f"0170 {1_000_000 + 100 * e + f}"),
        "numbers with extensions": lambda e, f: (f"phone {f}", f"+49 (0) 30 {e}{f}123 ext. {f}"),
        "numbers in words": lambda e, f: (f"phone {f}", f"call me at 0170 12345{e}{f} or later"),
        "numbers in other digits": lambda _, f: (f"phone {f}", "۰۹۱۲ ۳۴۵ " + "۶۷۸۹" * 3),
        "consents": lambda e, f: (f"I agree to {e} and {f}", f"I have read {e} and accept"),
        "messages": lambda e, f: (f"message {f}", f"Please call me about {e} and {f}.\nThanks"),
        "names": lambda e, f: (f"first name {f}", f"Zoë {e} {f}"),
        "pages": lambda e, f: (f"page {f}", f"https://a.example/{e}?utm_source={f}&gclid=a"),
        "names that are new each time": lambda e, f: (f"feld {e} nummer {f}", "x"),
        "questions that are new each time": lambda e, f: (f"your e-mail for {e} and {f} please", "x"),
        "labels in languages that are new each time": lambda e, f: (f"Name {e} / Nom {f} / 名前", "x"),
        "owners that are new each time": lambda e, f: (f"{OWNERS[f % 25]} {e} {f} email", "a@b.example"),
        "ideographs that are new each time": lambda e, f: (f"您的{e}联系人{f}电子邮箱地址", "x"),
        "choices": lambda e, f: (f"q{f}", [{"label": f"a{e}", "id": f} for _ in range(3)]),
        "lines": lambda e, f: (f"q{f}", f"first = Zoë {e}\nlast = {f}\nfield_type = name"),
        "titles": lambda e, f: (f"Titel {f}", f"Dr. {e}"),
        "amounts": lambda e, f: (f"deal value {f}", f"{e}.{f}"),
        "ranges": lambda e, f: (f"deal value {f}", f"{e}-{f} 000"),
        "currencies of many letters": lambda e, f: (f"currency {f}", f"{e}{f}" + "é" * 60),
        "currencies of sentences": lambda e, f: (f"currency {f}", f"{e}{f}" + "\ufdfa" * 80),
        "sums of sentences": lambda e, f: (f"deal value {f}", f"{e}{f}" + "\ufdfa" * 20),
        "numbers of sentences": lambda e, f: (f"phone {f}", f"{e}{f}" + "\ufdfa1" * 50),
        "addresses of long domains": lambda e, f: (
            f"email {f}", f"{e}{f}@" + ".".join(["ö" * 16] * 5) + ".example"),
        "lists of addresses": lambda e, f: (
            f"email {f}", [FOREIGN.format(f"{e}x{f}x{at}") for at in range(3)]),
        "lists of almost addresses": lambda e, f: (f"email {f}", [f"ä{e}@{f}"] * 3),
        "lists of almost numbers": lambda e, f: (f"phone {f}", [f"{e}x1#{f} " * 8] * 3),
        "lists of lines": lambda e, f: (f"company {f}", ["_" * 60 + f"{e}{f}"] * 3),
        "places to fill in": lambda e, f: (f"website {f}", f"{e}." + "a." * 40 + f"@{f}"),
        "campaigns": lambda e, f: (f"page {f}", "?utm_a=&" + "".join(f"{e}{f}{at}=a&" for at in range(9))),
        "tokens": lambda e, f: (f"session id {f}", f"{e}a0{f}" * 8),
    }  # fmt: skip
    for name, field in fields.items():
        yield (
            name,
            _fill(
                lambda filled, field=field: [
                    dict(field(e, f) for f in range(filled)) for e in range(100)
                ],
                39,
            ),
        )
    yield (
        "countries with numbers",
        json.dumps(
            [
                {"phone": f"0170 {1_000_000 + e}", "country": f"Land {e}", "message": "x" * 2_000}
                for e in range(100)
            ]
        ).encode(),
    )
    yield (
        "numbers of countries",
        json.dumps(
            [
                {"phone": f"0170 {1_000_000 + e}", "country": "Deutschland", "message": "x" * 2_000}
                for e in range(100)
            ]
        ).encode(),
    )
    yield (
        "lists of pairs",
        _fill(
            lambda filled: [
                {
                    "q": [
                        {"label": f"email {e} {f}", "value": FOREIGN.format(f)}
                        for f in range(filled)
                    ]
                }
                for e in range(100)
            ],
            39,
        ),
    )
    yield (
        "columns",
        _fill(
            lambda filled: [
                {
                    "fields": [f"email {e} {f}" for f in range(filled)],
                    "values": [FOREIGN.format(e)] * filled,
                }
                for e in range(100)
            ],
            38,
        ),
    )
    yield (
        "embedded JSON",
        _fill(
            lambda filled: [
                {"data": json.dumps({f"email {e} {f}": FOREIGN.format(f) for f in range(filled)})}
                for e in range(100)
            ],
            39,
        ),
    )
    yield (
        "around one list",
        _fill(
            lambda filled: {
                "fields": {f"email {f}": FOREIGN.format(f) for f in range(filled)},
                "data": [{"name": f"n{e}"} for e in range(100)],
            },
            200,
        ),
    )


def _labels() -> Iterator[tuple[str, bytes]]:
    """Names as long as are read, of every script, and with as many parts as possible."""
    for name, sign in SCRIPTS.items():
        text = sign * (180 // len(sign))
        yield (
            f"180 of {name}",
            _fill(lambda filled, text=text: {f"{n}{text}": "x" for n in range(filled)}, 490),
        )
        yield (
            f"words of {name}",
            _fill(
                lambda filled, sign=sign: {
                    f"{sign * 3} " * 20 + f"email {n}": "a@b.example" for n in range(filled)
                },
                490,
            ),
        )
    for sign in SEPARATORS:
        parts = sign.join("abcdefghij" * 10)
        yield (
            f"200 parted by {sign!r}",
            _fill(
                lambda filled, parts=parts: {f"{parts[:190]}{n}": "x" for n in range(filled)}, 490
            ),
        )
        familiar = sign.join(["email", "phone", "name", "Vorname", "firma", "名前", "land"] * 8)
        yield (
            f"fields parted by {sign!r}",
            _fill(
                lambda filled, familiar=familiar: {
                    f"{familiar[:190]}{n}": "a@b.example" for n in range(filled)
                },
                490,
            ),
        )
    yield (
        "consents",
        _fill(
            lambda filled: {
                f"I have read {n} " + "and agree to the terms " * 6: "on" for n in range(filled)
            },
            490,
        ),
    )
    yield (
        "questions",
        _fill(
            lambda filled: {
                f"To which {n} " + "mail or phone may we write " * 6: "x" for n in range(filled)
            },
            490,
        ),
    )
    yield (
        "possessives",
        _fill(
            lambda filled: {
                f"l'adresse d'{n} " + "l'e-mail dell'azienda " * 8: "x" for n in range(filled)
            },
            490,
        ),
    )
    yield (
        "brackets",
        _fill(
            lambda filled: {f"a{n}" + "[contact]" * 60: "a@b.example" for n in range(filled)}, 490
        ),
    )
    yield (
        "deep paths",
        _fill(
            lambda filled: _nest(
                {f"email {n}": "a@b.example" for n in range(filled)}, "contact", 20
            ),
            480,
        ),
    )


def _nest(value: Any, key: str, depth: int) -> Any:
    for _ in range(depth):
        value = {key: value}
    return value


def _owners() -> Iterator[tuple[str, bytes]]:
    """Many people in one body, each with all that a person has."""

    def person(n: int) -> dict[str, str]:
        return {
            "name": f"Zoë {n} Müller", "first_name": f"Zoë {n}", "last_name": "Müller",
            "email": FOREIGN.format(n), "phone": f"0170 {1_000_000 + n}", "job_title": "Rep",
        }  # fmt: skip

    yield (
        "objects",
        _fill(lambda filled: {f"{OWNERS[n % 25]} {n}": person(n) for n in range(filled)}, 490),
    )
    yield "strangers", _fill(lambda filled: {f"zz{n}": person(n) for n in range(filled)}, 490)
    yield "contacts", _fill(lambda filled: {"contacts": [person(n) for n in range(filled)]}, 490)
    yield (
        "people of one name",
        _fill(
            lambda filled: {f"contact{n}": {**person(1), "note": "x" * 300} for n in range(filled)},
            490,
        ),
    )
    for sign in ("_", " ", ".", "-"):
        yield (
            f"prefixes with {sign!r}",
            _fill(
                lambda filled, sign=sign: {
                    f"{OWNERS[n % 25]}{n}{sign}{key}": text
                    for n in range(filled)
                    for key, text in person(n).items()
                },
                80,
            ),
        )
    yield (
        "nested",
        _fill(
            lambda filled: {
                owner: {other: {f"{n}": person(n) for n in range(filled)} for other in OWNERS[:5]}
                for owner in OWNERS[:5]
            },
            40,
        ),
    )
    yield (
        "names in parts",
        _fill(
            lambda filled: {
                f"name{n}": {
                    "first": f"Zoë {n}",
                    "last": "Müller",
                    "title": "Dr.",
                    "middle": "x" * 300,
                }
                for n in range(filled)
            },
            490,
        ),
    )


def _values() -> Iterator[tuple[str, bytes]]:
    """Values that are almost, or only just, those of a field."""
    values = {
        "email": (
            "a@" * 250, "<" * 500, "a@b," * 120, "%40" * 160, "mailto:" * 70, "'\"" * 250, "\ufdfa" * 160 + "@b.c",
            "Ada <" + "a" * 400 + "@b.example>", "ä" * 240 + "@b.example", "a@" + "ä" * 60 + ".example",
            "a @ " * 120, "; ".join(FOREIGN.format(n) for n in range(12)), "a@b.example " * 40, "＠" * 160,
        ),
        "phone": (
            "1" * 250, "1-" * 125, "( 1" * 80, "+1 2 3 4 5 6 7 8 9 " * 13, "ext" * 80, "1 ext 1 " * 30,
            "or " * 80, "1 oder 2 oder " * 17, "١" * 120, "tel:" * 60, "a1" * 120, "(a)" * 80, "x1#" * 80,
            "1e" * 120, "00" * 120, "0170 123456 or " * 15, "＋１" * 60, "((((" * 60, "1/ " * 80,
        ),
        "country": ("Land" * 15, "ä" * 58, "名" * 58, "\ufdfa" * 58, "+1 " * 60),
        "consent": ("yes, " * 80, "ä" * 200, "I agree " * 50, "no " * 120, "\ufdfa" * 200),
        "name": ("Zoë " * 60, "\u0301" * 250, "- " * 200, "名" * 160, "a.b " * 100),
        "message": ("Hello? " * 70, "\n" * 500, "\r\n" * 250, "\u2028" * 160, "a\u0301" * 150),
        "page url": ("https://a.example/?" + "utm_source=a&" * 35, "//" * 240, "?&" * 250, "%" * 480),
        "occurred at": ("2024-01-01 " * 5, "1" * 64, "-" * 64),
        "utm source": ("{{" * 240, "((" * 240, "<" * 480, "%%" * 240, "__a" * 160, "x" * 480),
        "deal value": ("1," * 240, "9" * 480, "1.1.1" * 90, "-" * 480),
    }  # fmt: skip
    for field, texts in values.items():
        for number, text in enumerate(texts):
            yield (
                f"{field} {number}",
                _fill(
                    lambda filled, field=field, text=text: {
                        f"{field} {n}": text for n in range(filled)
                    },
                    490,
                ),
            )
    yield (
        "numbers of countries",
        _fill(
            lambda filled: {
                **{f"phone {n}": f"0170 {1_000_000 + n}" for n in range(filled)},
                "country": "Deutschland",
            },
            490,
        ),
    )
    yield (
        "dial codes",
        _fill(
            lambda filled: {
                **{f"phone code {n}": "Germany (+49)" for n in range(filled)},
                **{f"country code {n}": "+49" for n in range(filled)},
                "phone": "170 1234567",
            },
            240,
        ),
    )
    yield (
        "parts of numbers",
        _fill(lambda filled: {f"tel{n}": f"{n % 1000}" for n in range(filled)}, 490),
    )
    yield (
        "lists",
        _fill(lambda filled: {f"email {n}": ["a@", "ä@b"] * 3 for n in range(filled)}, 400),
    )
    yield (
        "long lists of numbers",
        _fill(
            lambda filled: {
                f"phone {at}": [f"{n}x1#" * 60 for n in range(filled)] for at in range(40)
            },
            490,
        ),
    )
    yield (
        "names in objects",
        _fill(
            lambda filled: {
                f"name {n}": {f"first{at}": "a" for at in range(10)} for n in range(filled)
            },
            400,
        ),
    )


def _shapes() -> Iterator[tuple[str, bytes]]:
    """Questions and answers in all shapes, as large as they may be."""
    for name, value in (("label", "value"), ("question", "answer"), ("zz", "yy"), ("id", "text")):
        yield (
            f"pairs of {name} and {value}",
            _fill(
                lambda filled, name=name, value=value: {
                    "fields": [
                        {name: f"email {n}", value: FOREIGN.format(n), "x": "y" * 300}
                        for n in range(filled)
                    ]
                },
                490,
            ),
        )
    pair = {"label": "email", "value": "a@b.example"}
    deep = {
        "lists in lists": [[[pair] * 9] * 9] * 5,
        "pairs in pairs": {"label": "a", "value": [pair] * 100},
        "lists side by side": {f"q{n}": [pair] * 9 for n in range(200)},
        "single fields": [{f"email {n}": "a@b.example"} for n in range(490)],
        "rows": [[f"email {n}", FOREIGN.format(n)] for n in range(490)],
        "columns": {"fields": [f"email {n}" for n in range(490)], "values": ["a@b.example"] * 490},
        "columns in columns": {
            f"c{at}": {"fields": [f"e{n}" for n in range(200)], "values": ["a"] * 200} for at in range(12)
        },
        "labels beside": {
            key: text
            for n in range(240)
            for key, text in ((f"field_{n}", "a@b.example"), (f"field_{n}_label", f"email {n} " * 9))
        },
        "questions by id": {
            str(n): {"id": str(n), "label": f"email {n}", "value": "x" * 300} for n in range(490)
        },
        "choices": {f"q{n}": [{"label": f"email {n}", "id": "1"}] * 5 for n in range(200)},
        "keys of every object": [{f"k{n}": "a", f"l{n}": "b"} for n in range(490)],
        "keys with accents": [{f"Názëv{'é' * 90}": f"email {n}", "Hodnota": "x"} for n in range(490)],
        "different objects": [{f"k{n % 7}": f"email {n}", "v": "x"} for n in range(490)],
    }  # fmt: skip
    for name, tree in deep.items():
        yield name, json.dumps(tree, ensure_ascii=False).encode()[:SIZE]
    for name in ("q", "data", "message"):
        yield (
            f"lines in {name}",
            json.dumps({name: "first = Zoë\n" * 21_000}).encode()[: SIZE - 2] + b'"}',
        )
        yield (
            f"one line in {name}",
            json.dumps({name: "a = " * 65_000}).encode()[: SIZE - 2] + b'"}',
        )
        yield (
            f"JSON in {name}",
            _fill(
                lambda filled, name=name: {
                    name: json.dumps({f"email {n}": FOREIGN.format(n) * 8 for n in range(filled)})
                },
                490,
            ),
        )
    yield (
        "lines in all fields",
        _fill(
            lambda filled: {
                f"q{n}": "\n".join(f"first = Zoë {at}" for at in range(20)) for n in range(filled)
            },
            490,
        ),
    )
    yield (
        "almost JSON in all fields",
        _fill(lambda filled: {f"data{n}": "[" * 500 for n in range(filled)}, 490),
    )
    yield "JSON in the text of JSON", json.dumps("[" * (SIZE - 10)).encode()
    yield (
        "JSON twice",
        json.dumps(
            _fill(lambda filled: {f"e{n}": "x" for n in range(filled)}, 490).decode()
        ).encode(),
    )


def _encodings() -> Iterator[tuple[str, str, bytes]]:
    """Bodies in odd charsets and under wrong names."""
    text = "Zoë 山田 Їжак " * 20
    for charset, codec in (
        ("windows-1251", "cp1251"), ("shift_jis", "cp932"), ("gb18030", "gb18030"), ("big5", "big5"),
        ("euc-kr", "cp949"), ("euc-jp", "euc_jp"), ("punycode", "cp1252"), ("utf-7", "cp1252"),
        ("koi8-r", "koi8-r"), ("iso-8859-1", "latin-1"),
    ):  # fmt: skip
        raw = text.encode(codec, "ignore") + b"\xff"
        body = b"&".join(b"name%d=" % n + raw for n in range(max(1, (SIZE // (len(raw) + 9)) - 1)))
        body = b"&".join(body.split(b"&")[:490])
        yield f"form in {charset}", f"{FORM}; charset={charset}", body[:SIZE]
        yield f"form that names {charset}", FORM, (f"_charset_={charset}&".encode() + body)[:SIZE]
        yield (
            f"JSON in {charset}",
            f"{JSON}; charset={charset}",
            b'{"name": "' + (raw * 3_000)[: SIZE - 12] + b'"}',
        )
        part = (
            f'--x\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset={charset}'
            "\r\n\r\n"
        )
        many = part.encode() + raw[:300] + b"\r\n"
        yield (
            f"parts in {charset}",
            MULTIPART,
            many * min(490, (SIZE - 8) // len(many)) + b"--x--\r\n",
        )
    wide = _fill(lambda filled: {f"email {n}": FOREIGN.format(n) * 9 for n in range(filled)}, 480)
    yield "UTF-16", JSON, codecs.BOM_UTF16_LE + wide.decode()[: SIZE // 2 - 4].encode("utf-16-le")
    yield "a form of UTF-16", FORM, codecs.BOM_UTF16_BE + ("a=ä&" * 32_000).encode("utf-16-be")
    yield "JSON as a form", FORM, wide
    yield (
        "JSON as a name of a form",
        FORM,
        quote_plus('{"email": "' + "a" * 200_000 + '"}').encode(),
    )
    yield "broken JSON as a form", FORM, wide[:-2] + b"="
    yield (
        "a form as text",
        "text/plain",
        urlencode({f"email {n}": FOREIGN.format(n) * 9 for n in range(480)}).encode()[:SIZE],
    )
    yield (
        "lines as text",
        "text/plain",
        b"\r\n".join(b"email%d=" % n + b"a@b.example" * 40 for n in range(499)),
    )
    yield "many lines as text", "text/plain", b"a=b\n" * (SIZE // 4)
    yield "one line as text", "text/plain", b"a=" + b"=" * (SIZE - 2)
    yield "dashes without a type", "", b"--" * (SIZE // 2)
    yield (
        "a boundary without a type",
        "",
        b"--" + b"x" * 190 + b"\r\nContent-Disposition: form-data" + b"a" * 200_000,
    )
    name = quote_plus("é" * 300)
    part = f"--x\r\nContent-Disposition: form-data; name=\"f\"; filename*=UTF-8''{name}\r\n\r\n\r\n"
    yield "file names", MULTIPART, part.encode() * (SIZE // len(part) - 1) + b"--x--"
    yield "brackets of frameworks", FORM, urlencode(
        {f"user[{n}][contacts][0][email]": FOREIGN.format(n) * 8 for n in range(490)}
    ).encode()[:SIZE]  # fmt: skip
    yield (
        "queries",
        FORM,
        b"&".join(
            b"landing_page_%d=" % n + b"%%3Futm_source%%3Da%%26" * 1 * 20 for n in range(490)
        )[:SIZE],
    )
