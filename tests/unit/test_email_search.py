"""Where an e-mail address stands in a text, however it is encoded."""

from __future__ import annotations

import time
from base64 import b64encode, urlsafe_b64encode

import pytest

from worker.ledger.email_search import EmailPattern, addresses_in

ADA = EmailPattern("Ada@Example.com")
JSON = b'{"by": "hello ada@example.com there"}'
HERS: dict[str, tuple[object, object]] = {
    "alone": ("ada@example.com", "[erased]"),
    "upper case": ("ask ADA@Example.COM!", "ask [erased]!"),
    "with a name": ("Ada <ada@example.com>", "Ada <[erased]>"),
    "a list": ("x@y.example,ada@example.com;z", "x@y.example,[erased];z"),
    "a query": ("https://x/?e=ada%40example.com&b=1", "https://x/?e=[erased]&b=1"),
    "a URL in a URL": ("https://x/?u=https%3A%2F%2Fy%3Fe%3Dada%2540example.com", "https://x/?u=https%3A%2F%2Fy%3Fe%3D[erased]"),
    "a form": ("m=hello+ada%40example.com+bye", "m=hello+[erased]+bye"),
    "after an encoded space": ("m=ask%20ada%40example.com%0A", "m=ask%20[erased]%0A"),
    "JSON escapes": (r'{"a":"\u0061da\u0040example\u002ecom"}', '{"a":"[erased]"}'),
    "JSON within JSON": (r'{"a":"{\"b\":\"ada\\u0040example.com\"}"}', r'{"a":"{\"b\":\"[erased]\"}"}'),
    "after a line feed of JSON": (r'{"m":"hi\nada@example.com\n"}', r'{"m":"hi\n[erased]\n"}'),
    "quoted-printable": ("Hello=20ada=40exam=\r\nple.com=0A", "Hello=20[erased]=0A"),
    "HTML": ("<a>ada&#64;example.com</a>", "<a>[erased]</a>"),
    "at the end of a sentence": ("It is ada@example.com.", "It is [erased]."),
    "between Chinese letters": ("请联系ada@example.com谢谢", "请联系[erased]谢谢"),
    "a path": ("/u/ada@example.com/x", "/u/[erased]/x"),
    "the name alone": ({"x": {"ada@example.com": 1}}, {"x": {"[erased]": 1}}),
    "a name of a field": ({"ada@example.com": ["x", "ada@example.com"]}, {"[erased]": ["x", "[erased]"]}),
    "base64": (f"c={b64encode(JSON).decode()}; d=1", "c=[erased]==; d=1"),
    "base64 for URLs": (b"t=x." + urlsafe_b64encode(JSON).rstrip(b"=") + b".y", b"t=x.[erased].y"),
    "UTF-16 with a mark": ("\ufeffby ada@example.com".encode("utf-16-le"), "\ufeffby [erased]".encode("utf-16-le")),
    "UTF-16 without a mark": ("by ada@example.com".encode("utf-16-le"), b"[erased]"),
    "bytes that are no text": (b"\xff\xfa ada@example.com \xff", b"\xff\xfa [erased] \xff"),
}  # fmt: skip
OTHERS = (
    "nada@example.com", "a.ada@example.com", "x+ada@example.com", "-ada@example.com", "_ada@example.com",
    "ada@example.com.org", "ada@example.community", "ada@example.com-x.example", "ada@sub.example.com",
    "ada+news@example.com", '{"e": "a+ada@example.com"}', "m=a%2Bada%40example.com", "%61da%40example.co",
    "joséada@example.com", "ada@example.com%2Eorg", "ada at example.com", "adaexample.com", "",
    "Ada, example.com @ ada", b64encode(b"nada@example.com").decode(),
)  # fmt: skip


@pytest.mark.parametrize("where", HERS)
def test_an_address_stands_there_and_goes(where: str) -> None:
    """It is seen, it comes among all addresses, and only it is replaced."""
    data, without = HERS[where]
    assert ADA.occurs_in(data)
    assert "ada@example.com" in addresses_in(data)
    assert ADA.redact(data) == without
    assert not ADA.occurs_in(without)


@pytest.mark.parametrize("text", OTHERS)
def test_another_address_is_another(text: str) -> None:
    """A longer address is not hers, nor is one with a tag; nothing of it is replaced."""
    assert not ADA.occurs_in(text)
    assert "ada@example.com" not in addresses_in(text)
    assert ADA.redact(text) == text


@pytest.mark.parametrize("typed", ["ada@Müller.example", "ada@xn--mller-kva.example"])
@pytest.mark.parametrize(
    "text",
    [
        "ada@müller.example", "ADA@MÜLLER.EXAMPLE", "ada@xn--mller-kva.example", "a=ada%40m%C3%BCller.example",
        "ada@müller.example".encode("windows-1252"), r'{"e": "ada@m\u00fcller.example"}',
    ],
)  # fmt: skip
def test_both_forms_of_an_international_domain_are_one(typed: str, text: str | bytes) -> None:
    """Whichever form was typed, both are seen."""
    assert EmailPattern(typed).occurs_in(text)
    assert typed.lower() in addresses_in(text)


@pytest.mark.parametrize(
    "unit",
    [
        "@", "@example.com", "ada@example.comx ", "\\", "%25", "=\r\n", "QUJD", "&#0", "+ada@example.com",
        "A" * 20 + "\n", "A" * 16 + "\n ", "%2", "a=&", "[", "é@",
    ],
)  # fmt: skip
def test_the_work_grows_with_the_text_only(unit: str) -> None:
    """No 64 KiB that a stranger may send takes as long as a second."""
    data = (unit * 65_536)[:65_536].encode()
    began = time.process_time()
    ADA.occurs_in(data)
    ADA.redact(data)
    addresses_in(data)
    assert time.process_time() - began < 3.0
