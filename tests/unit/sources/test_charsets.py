"""Text in whatever charset: UTF-8 wherever it fits, else what was named, else what browsers take."""

from __future__ import annotations

import codecs
import time
from urllib.parse import quote_from_bytes

import pytest

from service.sources.payload import charsets
from service.sources.payload.charsets import decode_text, find_codec
from service.sources.payload.decode import decode_body, describe_guess
from service.sources.payload.tree import UnreadableBody
from service.sources.request import InboundRequest
from tests.unit.sources.factories import FORM, JSON, lead_of, post

MULTIPART = "multipart/form-data; boundary=x"

# The name that a page gives, Python's own, and a text in it.
CHARSETS = (
    ("ISO-8859-1", "latin-1", "Zoë Müller"),
    ("iso-8859-15", "iso8859-15", "Zoë Müller, 5 €"),
    ("windows-1252", "cp1252", "„Zoë“ – 5 €"),
    ("windows-1250", "cp1250", "Łukasz Žižka"),
    ("iso-8859-2", "iso8859-2", "Łukasz Žižka"),
    ("windows-1251", "cp1251", "Иван Петров"),
    ("koi8-r", "koi8-r", "Иван Петров"),
    ("KOI8-U", "koi8-u", "Їжак"),
    ("windows-1253", "cp1253", "Ελένη"),
    ("iso-8859-7", "iso8859-7", "Ελένη"),
    ("iso-8859-9", "iso8859-9", "Işık Çağ"),
    ("windows-1254", "cp1254", "Işık Çağ"),
    ("windows-1255", "cp1255", "דוד כהן"),
    ("windows-1256", "cp1256", "محمد"),
    ("windows-1257", "cp1257", "Žemaitė"),
    ("windows-1258", "cp1258", "Đà"),
    ("Shift_JIS", "cp932", "山田太郎"),
    ("sjis", "cp932", "髙橋"),
    ("EUC-JP", "euc_jp", "山田太郎"),
    ("GBK", "gbk", "王小明"),
    ("gb2312", "gb2312", "王小明"),
    ("gb18030", "gb18030", "王小明"),
    ("Big5", "big5", "陳美玲"),
    ("EUC-KR", "euc_kr", "홍길동"),
    ("ks_c_5601-1987", "cp949", "홍길동"),
    ("windows-874", "cp874", "สมชาย"),
)
UNKNOWN = ("punycode", "idna", "utf-7", "rot13", "base64", "zlib", "unicode_escape", "x" * 500, "")


def multipart(content: bytes, headers: str = "", more: bytes = b"") -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="name"\r\n{headers}\r\n'
    return head.encode() + content + b"\r\n" + more + b"--x--\r\n"


def named_in_a_field(charset: str) -> bytes:
    head = '--x\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n'
    return f"{head}{charset}\r\n".encode()


@pytest.mark.parametrize(("charset", "codec", "text"), CHARSETS, ids=[row[0] for row in CHARSETS])
def test_named_charsets(charset: str, codec: str, text: str) -> None:
    """A charset that the header, the form or a part names is read, in every kind of body."""
    raw = text.encode(codec)
    requests = (
        post(b"name=" + quote_from_bytes(raw).encode(), f"{FORM}; charset={charset}"),
        post(b"name=" + quote_from_bytes(raw).encode(), f'{FORM};Charset="{charset}"'),
        post(
            b"name=" + quote_from_bytes(raw).encode() + f"&_charset_={charset}".encode(),
            f"{FORM}; charset=utf-8",
        ),
        post(multipart(raw), f"{MULTIPART}; charset={charset}"),
        post(multipart(raw, f"Content-Type: text/plain; charset={charset}\r\n"), MULTIPART),
        post(multipart(raw, more=named_in_a_field(charset)), MULTIPART),
    )
    for request in requests:
        assert decode_body(request)["name"] == text
        assert describe_guess(request)


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [row for row in CHARSETS if row[1] not in ("cp932", "big5", "gbk", "gb18030")],
    ids=lambda value: str(value)[:12],
)
def test_json_of_a_named_charset(charset: str, codec: str, text: str) -> None:
    """JSON that is not UTF-8 is read in the charset that its header names."""
    body = f'{{"name": "{text}"}}'.encode(codec)
    assert decode_body(post(body, f"{JSON}; charset={charset}"))["name"] == text


@pytest.mark.parametrize("charset", ["ISO-8859-1", "Shift_JIS", "windows-1251", *UNKNOWN])
def test_utf8_wins(charset: str) -> None:
    """What is UTF-8 is read as such, whatever charset a header or a field claims."""
    raw = "Zoë 山田".encode()
    for request in (
        post(b"name=" + raw, f"{FORM}; charset={charset}"),
        post(b"name=" + raw + f"&_charset_={charset}".encode(), FORM),
        post(b'{"name": "' + raw + b'"}', f"{JSON}; charset={charset}"),
        post(multipart(raw, f"Content-Type: text/plain; charset={charset}\r\n"), MULTIPART),
    ):
        assert decode_body(request)["name"] == "Zoë 山田"


@pytest.mark.parametrize(
    "request_",
    [
        post(b"name=Zo%EB+M%FCller", FORM),
        post(b"name=Zo\xeb M\xfcller", "text/plain"),
        post(b"name=Zo\xeb M\xfcller", ""),
        post(multipart(b"Zo\xeb M\xfcller"), MULTIPART),
        post(b"name=Zo%EB+M%FCller", f"{FORM}; charset=utf-8"),
        post(b"name=Zo%EB+M%FCller&_charset_=punycode", FORM),
    ],
    ids=["form", "text", "no type", "multipart", "form that claims UTF-8", "unknown _charset_"],
)
def test_windows_1252_comes_last(request_: InboundRequest) -> None:
    """A form in no charset that was named is read as browsers read a page that names none."""
    assert decode_body(request_)["name"] == "Zoë Müller"
    assert "windows-1252" in (describe_guess(request_) or "")


def test_each_text_by_itself() -> None:
    """One field that is not UTF-8 spoils no other one, and names are read like values."""
    fields = decode_body(post("name=Zoë&ort=".encode() + b"K%F6ln&stra%DFe=1", FORM))
    assert fields == {"name": "Zoë", "ort": "Köln", "straße": "1"}


def test_bytes_without_meaning() -> None:
    """Bytes that mean nothing in the charset become U+FFFD, and the rest is kept."""
    assert decode_body(post(b"name=A%81%FFda", FORM)) == {"name": "A\ufffdÿda"}
    assert decode_text(b"\x81", "cp932") == "\ufffd"


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("content_type", [JSON, "text/plain", "", FORM, f"{JSON}; charset=latin1"])
def test_marks(mark: str, content_type: str) -> None:
    """A byte order mark says how JSON is encoded, and is not part of it."""
    start = codecs.BOM_UTF16_BE if mark == "utf-16-be" else b""
    body = start + '{"name": "Zoë 山田"}'.encode(mark)
    assert decode_body(post(body, content_type)) == {"name": "Zoë 山田"}
    assert lead_of(post(body, JSON)).name == "Zoë 山田"


def test_marks_of_forms() -> None:
    """A byte order mark before a form is no part of its first name."""
    assert decode_body(post(b"\xef\xbb\xbfname=Ada&a=b", FORM)) == {"name": "Ada", "a": "b"}
    assert decode_body(post(b"\xef\xbb\xbf" + multipart(b"Ada"), MULTIPART)) == {"name": "Ada"}
    assert decode_body(post(b"name=%EF%BB%BFAda", FORM)) == {"name": "Ada"}
    body = codecs.BOM_UTF16_LE + "name=Zoë&a=b".encode("utf-16-le")
    assert decode_body(post(body, FORM)) == {"name": "Zoë", "a": "b"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b'{"name": "Zo\xeb"}'),
        (f"{JSON}; charset=utf-8", b'{"name": "Zo\xeb"}'),
        (f"{JSON}; charset=punycode", b'{"name": "Zo\xeb"}'),
        (JSON, '{"name": "Zoë"}'.encode("utf-16-le")),
        (JSON, codecs.BOM_UTF16_LE + b'{"name": "'),
        (JSON, codecs.BOM_UTF16_LE + b"\x00\xd8\x00\x00"),
    ],
    ids=["no charset", "UTF-8 claimed", "unknown", "UTF-16 without mark", "odd", "lone surrogate"],
)
def test_json_is_never_guessed(content_type: str, body: bytes) -> None:
    """JSON that is neither UTF-8 nor in a charset that is known and named is refused."""
    with pytest.raises(UnreadableBody) as caught:
        decode_body(post(body, content_type))
    assert caught.value.status == 400


# What a stranger may name.


@pytest.mark.parametrize("label", UNKNOWN)
def test_unknown_charsets_are_never_looked_up(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is not on the list never reaches Python's registry, and refuses no form."""
    requested: list[str] = []
    monkeypatch.setattr(codecs, "lookup", requested.append)
    assert find_codec(label) is None
    for request in (
        post(b"name=Ada", f"{FORM}; charset={label}"),
        post(b"name=Ada&_charset_=" + label.encode(), FORM),
        post(multipart(b"Ada", f"Content-Type: text/plain; charset={label}\r\n"), MULTIPART),
        post(multipart(b"Ada", more=named_in_a_field(label)), f"{MULTIPART}; charset={label}"),
        post(b'{"name": "Ada"}', f"{JSON}; charset={label}"),
    ):
        assert decode_body(request)["name"] == "Ada"
    assert requested == []


def test_costly_charsets_cost_nothing() -> None:
    """A large text that claims a charset of quadratic cost is read in no time."""
    raw = b"\xff" + b"x" * 200_000
    for request in (
        post(b"name=" + raw, f"{FORM}; charset=punycode"),
        post(multipart(raw, "Content-Type: text/plain; charset=punycode\r\n"), MULTIPART),
    ):
        started = time.thread_time()
        assert len(decode_body(request)["name"]) == 200_001
        assert time.thread_time() - started < 0.5


@pytest.mark.parametrize("codec", sorted(set(charsets._CODECS.values())))
def test_every_codec_is_quick(codec: str) -> None:
    """Every charset of the list exists, and reads the largest body in a moment."""
    started = time.thread_time()
    assert decode_text(b"\xff\xa4" * 131_072, codec)
    assert time.thread_time() - started < 0.2


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("UTF-8", None), ('"koi8-r"', "koi8-r"), ("us-ascii", "cp1252"), ("Latin1", "cp1252"),
        (" ISO-8859-1 ", "cp1252"), ("x-sjis", "cp932"), ("gb2312", "gb18030"), ("utf-16", None),
    ],
)  # fmt: skip
def test_labels(label: str, codec: str | None) -> None:
    """Charsets have the names that the web gives them, in any case and in quotes."""
    assert find_codec(label) == codec
