r"""Where an e-mail address stands in a text: as a value, in a sentence, in a URL, however encoded.

An address stands in a text in whole, so neither `nada@example.com` nor `ada@example.com.org` holds
`ada@example.com`, and `ada+news@example.com` is another address. What counts as the same:

| written as                       | where that happens                                   |
|----------------------------------|------------------------------------------------------|
| `Ada@EXAMPLE.com`                | anywhere                                             |
| `ada%40example.com`, `%2540`     | forms, queries, cookies, a URL within a URL          |
| `x=hello+ada%40example.com`      | forms and queries, where `+` is a space              |
| `ada\u0040example.com`, `\\u0040`| JSON, JSON within JSON                               |
| `ada=40exam=\r\nple.com`         | quoted-printable parts                               |
| `ada&#64;example.com`            | HTML                                                 |
| `YWRhQGV4YW1wbGUuY29t`           | base64: parts, cookies, tokens; twice at the most    |
| UTF-16 with or without a mark    | bodies                                               |
| `müller.example`, `xn--mller-kva.example` | both forms of an international domain       |

Nothing within compressed files is looked at. Every step is linear in the text, or bounded.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, TypeVar, cast
from urllib.parse import unquote

T = TypeVar("T")

REMOVED = "[erased]"

MAX_DEPTH = 2
MAX_TREE_DEPTH = 64

# Characters before an address in which its form has to show whether `+` is a space.
FORM_LOOK_BACK = 2_048

# The longest encoding of one character: `%2525252540`.
MAX_UNIT_CHARS = 14

# How many starts of a local part are tried for one `@`: `form=mail=ada@…` has three.
MAX_LOCAL_STARTS = 8

_SOFT_BREAK = r"(?:=\r?\n)?"
_PERCENT = r"%(?:25){0,4}"
_ENCODED = (
    rf"{_PERCENT}([0-9a-f]{{2}})|\\{{1,8}}u([0-9a-f]{{4}})|\\{{1,8}}([nrtbf])"
    r"|&#0{0,5}(\d{1,7});?|&#x0{0,5}([0-9a-f]{1,6});?"
)
_BEFORE = re.compile(rf"(?:{_ENCODED})\Z", re.IGNORECASE)
_AFTER = re.compile(_ENCODED, re.IGNORECASE)
_BREAK_BEFORE = re.compile(r"=\r?\n\Z")
_BREAK_AFTER = re.compile(r"=\r?\n")
_DELIMITER = re.compile(r"[\s\"'<>{}()\[\]]")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{16,}\r?\n){0,20000}[A-Za-z0-9+/_-]{8,}")
_AT_ENCODED = (b"@", b"40", b"64;", b"commat")
_ADDRESS = re.compile(
    r"[^\s@\"(),:;<>\[\]\\\x00-\x1f]{1,64}@[^\W_](?:[^\W_]|\.(?=[^\W_])|-+(?=[^\W_])){0,253}"
)
_LOCAL_DELIMITER = re.compile(r"[!#$&'*/=?^`{|}~]|[^\x00-\u024f]")
_OTHER_SCRIPT = re.compile(r"[^\x00-\u024f].*", re.DOTALL)
_ESCAPED_OCTET = re.compile(r"[\udc80-\udcff]")
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


class EmailPattern:
    """One address, and every way in which it may stand in a text."""

    def __init__(self, email: str) -> None:
        self.spellings = spellings(email)
        local, _, _ = self.spellings[0].rpartition("@")
        domains = "|".join(_units(each.rpartition("@")[2]) for each in self.spellings)
        self._base64_chars = min(map(len, self.spellings)) * 4 // 3
        self._local = re.compile(rf"(?:{_units(local)})\Z", re.IGNORECASE)
        self._local_window = len(local) * (MAX_UNIT_CHARS + 3)
        self._at_domain = re.compile(
            rf"(?P<at>{_unit('@')}){_SOFT_BREAK}(?:{domains})", re.IGNORECASE
        )

    def occurs_in(self, data: object, *, base64_depth: int = MAX_DEPTH) -> bool:
        """Whether the address stands in a text, in bytes, or anywhere in a tree of them."""
        return any(self._occurs(each, base64_depth) for each in _leaves(data))

    def redact(self, data: T) -> T:
        """The same data with `[erased]` in place of the address.

        Where the encoding cannot be told apart from what is around it, the whole value goes.
        """
        return cast("T", self._redact(data, 0))

    def _redact(self, data: Any, depth: int) -> Any:
        if isinstance(data, str):
            return data if not self._occurs(data, MAX_DEPTH) else self._redact_text(data)
        if isinstance(data, bytes):
            return data if not self._occurs(data, MAX_DEPTH) else self._redact_bytes(data)
        if depth > MAX_TREE_DEPTH:
            return data
        if isinstance(data, dict):
            return {
                self._redact(name, depth + 1): self._redact(value, depth + 1)
                for name, value in data.items()
            }
        if isinstance(data, list | tuple):
            return type(data)(self._redact(each, depth + 1) for each in data)
        return data

    def _redact_text(self, text: str) -> str:
        parts, end = [], 0
        for start, stop in self._spans(text):
            if start >= end:
                parts.append(text[end:start] + REMOVED)
                end = stop
        redacted = _BASE64.sub(self._redact_token, "".join([*parts, text[end:]]))
        return REMOVED if self._occurs(redacted, MAX_DEPTH) else redacted

    def _redact_token(self, token: re.Match[str]) -> str:
        return REMOVED if self._occurs_in_base64(token[0], MAX_DEPTH - 1) else token[0]

    def _redact_bytes(self, data: bytes) -> bytes:
        mark, charset = _charset(data)
        text = data[len(mark) :].decode(charset, "surrogatepass" if mark else "surrogateescape")
        encoded = self._redact_text(text).encode(
            charset, "surrogatepass" if mark else "surrogateescape"
        )
        redacted = mark + encoded
        return REMOVED.encode() if self._occurs(redacted, MAX_DEPTH) else redacted

    # -- where it stands

    def _occurs(self, data: str | bytes, depth: int) -> bool:
        for text in _views(data):
            if next(self._spans(text), None) is not None:
                return True
            if depth and any(
                self._occurs_in_base64(token, depth - 1)
                for token in _base64_tokens(text)
                if len(token) >= self._base64_chars
            ):
                return True
        return False

    def _occurs_in_base64(self, token: str, depth: int) -> bool:
        return any(self._occurs(each, depth) for each in _decode_base64(token))

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the address begins and ends."""
        for match in self._at_domain.finditer(text):
            begin = max(0, match.start() - self._local_window)
            local = self._local.search(text, begin, match.start())
            if (
                local is not None
                and not _continues_before(text, local.start(), match["at"])
                and not _continues_after(text, match.end())
            ):
                yield local.start(), match.end()


def spellings(email: str) -> list[str]:
    """The address in lower case, and with its domain in the other form if it is international."""
    email = unicodedata.normalize("NFC", email.strip()).removeprefix("mailto:").casefold()
    local, at, domain = email.rpartition("@")
    others = []
    for convert in (_to_ascii, _to_unicode):
        try:
            others.append(f"{local}{at}{convert(domain)}".casefold())
        except (UnicodeError, ValueError):
            continue
    return list(dict.fromkeys([email, *others]))


def addresses_in(data: object) -> set[str]:
    """Every address that stands in a text, in bytes, or in a tree of them, in all spellings.

    Of `a=b@example.com`, which may be one address or a name and its value, both come.
    """
    return {
        spelling
        for each in _leaves(data)
        for address in _addresses(each, MAX_DEPTH)
        for spelling in spellings(address)
    }


def _addresses(data: str | bytes, depth: int) -> Iterator[str]:
    for view in _views(data):
        text = _ESCAPED_OCTET.sub(lambda octet: chr(ord(octet[0]) - 0xDC00), view)
        for plain in {_decode_units(text), _decode_units(_decode_quoted_printable(text))}:
            for form in {plain, _spaces_for_plus(text, plain)}:
                for match in _ADDRESS.finditer(form):
                    yield from _local_starts(match[0])
                    yield from _local_starts(_without_next_words(match[0]))
        if depth:
            for token in _base64_tokens(text):
                for decoded in _decode_base64(token):
                    yield from _addresses(decoded, depth - 1)


def _local_starts(address: str) -> Iterator[str]:
    yield address
    local = address.rpartition("@")[0]
    for match in list(_LOCAL_DELIMITER.finditer(local))[-MAX_LOCAL_STARTS:]:
        if match.end() < len(local):
            yield address[match.end() :]


def _without_next_words(address: str) -> str:
    """Without what follows in a script that has no spaces, as far as it can be told apart."""
    local, at, domain = address.rpartition("@")
    shorter = _OTHER_SCRIPT.sub("", domain)
    return f"{local}{at}{shorter}" if shorter else address


def _to_ascii(domain: str) -> str:
    return domain.encode("idna").decode("ascii")


def _to_unicode(domain: str) -> str:
    return domain.encode("ascii").decode("idna")


# -- characters and their encodings


def _units(text: str) -> str:
    return _SOFT_BREAK.join(f"(?:{_unit(char)})" for char in text)


def _unit(char: str) -> str:
    """Every way in which one character may be written."""
    alternatives = [re.escape(char)]
    for each in dict.fromkeys((char, *(case for case in _cases(char) if len(case) == 1))):
        code, octets = ord(each), each.encode("utf-8", "replace")
        alternatives += [
            "".join(f"{_PERCENT}{octet:02x}" for octet in octets),
            "".join(f"={octet:02x}" for octet in octets),
            rf"\\{{1,8}}u{code:04x}",
            rf"&#0{{0,5}}{code};?",
            rf"&#x0{{0,5}}{code:x};?",
        ]
        if 0x80 <= code < 0x100:  # as windows-1252 has it
            alternatives += [chr(0xDC00 + code), f"{_PERCENT}{code:02x}", f"={code:02x}"]
    if char == "@":
        alternatives += ["&commat;", "\uff20"]
    return "|".join(alternatives)


def _cases(char: str) -> tuple[str, str]:
    return char.lower(), char.upper()


def _decoded(match: re.Match[str]) -> str:
    octet, escape, control, decimal, hexadecimal = match.groups()
    if octet:
        return chr(int(octet, 16)) if int(octet, 16) < 0x80 else "\ufffd"
    if escape:
        return chr(int(escape, 16))
    if control:
        return " "
    number = int(decimal or hexadecimal, 10 if decimal else 16)
    return chr(number) if number < 0x110000 else "\ufffd"


def _continues_before(text: str, start: int, at: str) -> bool:
    """Whether the local part began earlier, so that this is another address."""
    if (soft := _BREAK_BEFORE.search(text, max(0, start - 3), start)) is not None:
        start = soft.start()
    if start == 0:
        return False
    unit = _BEFORE.search(text, max(0, start - MAX_UNIT_CHARS), start)
    char = _decoded(unit) if unit else text[start - 1]
    if (
        unit is None
        and at.startswith("=")
        and (octet := text[max(0, start - 3) : start])[:1] == "="
    ):
        char = _octet(octet[1:]) or char
    if unit is None and char == "+":
        return not _is_in_form(text, start)
    return _is_letter_or_digit(char) or char in "._%+-"


def _octet(digits: str) -> str | None:
    try:
        return chr(int(digits, 16)) if len(digits) == 2 else None
    except ValueError:
        return None


def _is_in_form(text: str, position: int) -> bool:
    """Whether this place is in a form or in a query, where `+` is a space."""
    head = text[max(0, position - FORM_LOOK_BACK) : position]
    delimiters = [match.end() for match in _DELIMITER.finditer(head)]
    return bool({"=", "&"} & {*head[delimiters[-1] if delimiters else 0 :]})


def _continues_after(text: str, end: int) -> bool:
    """Whether the domain goes on, so that this is another address."""
    char, end = _char_at(text, end)
    if char == ".":
        char, _ = _char_at(text, end)
        return _is_letter_or_digit(char)
    return _is_letter_or_digit(char) or char == "-"


def _char_at(text: str, position: int) -> tuple[str, int]:
    if soft := _BREAK_AFTER.match(text, position):
        position = soft.end()
    if unit := _AFTER.match(text, position):
        return _decoded(unit), unit.end()
    return text[position : position + 1], position + 1


def _is_letter_or_digit(char: str) -> bool:
    """Of the Latin alphabet: scripts without spaces put an address between other letters."""
    if not char or char in "×÷":
        return False
    return char.isalnum() if char < "\u0250" else "\udcc0" <= char <= "\udcff"


# -- texts within data


def _leaves(data: object, depth: int = 0) -> Iterator[str | bytes]:
    """Every text in a tree, names included."""
    if isinstance(data, str | bytes):
        yield data
    elif depth > MAX_TREE_DEPTH:
        return
    elif isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(name, depth + 1)
            yield from _leaves(value, depth + 1)
    elif isinstance(data, list | tuple):
        for each in data:
            yield from _leaves(each, depth + 1)


def _charset(data: bytes) -> tuple[bytes, str]:
    """The byte order mark and the charset that it names."""
    for mark, charset in _MARKS:
        if data.startswith(mark):
            return mark, charset
    return b"", "utf-8"


def _views(data: str | bytes) -> Iterator[str]:
    """The texts that the data may stand for."""
    if isinstance(data, bytes):
        mark, charset = _charset(data)
        if mark:
            yield data[len(mark) :].decode(charset, "replace")
            return
        yield data.decode("utf-8", "surrogateescape")
        if b"\x00" in data:
            yield data.replace(b"\x00", b"").decode("utf-8", "surrogateescape")
        return
    yield data


def _base64_tokens(text: str) -> Iterator[str]:
    for each in {text, unquote(text)} if "%2" in text or "%3" in text else {text}:
        yield from (match[0] for match in _BASE64.finditer(each))


def _decode_units(text: str) -> str:
    if "%" in text:
        for _ in range(3):
            text = unquote(text, errors="replace")
    text = re.sub(rf"(?:{_ENCODED})", _decoded, text, flags=re.IGNORECASE)
    return html.unescape(text) if "&commat;" in text else text


def _decode_quoted_printable(text: str) -> str:
    if "=" not in text:
        return text
    text = re.sub(r"=\r?\n", "", text)
    return re.sub(r"=([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)


def _spaces_for_plus(text: str, plain: str) -> str:
    """`plain` as a form has it: only the encoded `+` is one."""
    if "+" not in text or not {"=", "&"} & {*text}:
        return plain
    return _decode_units(text.replace("+", " "))


def _decode_base64(token: str) -> Iterator[bytes]:
    """What the token stands for, at each place at which an encoded text may begin."""
    token = token.replace("\r", "").replace("\n", "").replace("-", "+").replace("_", "/")
    for skip in range(4):
        part = token[skip:]
        part = part[: len(part) - (1 if len(part) % 4 == 1 else 0)]
        try:
            decoded = base64.b64decode(part + "=" * (-len(part) % 4))
        except (binascii.Error, ValueError):
            continue
        if decoded.isascii() or any(each in decoded for each in _AT_ENCODED):
            yield decoded
