"""Text from bytes: UTF-8 wherever it fits, else the charset that was named, from a fixed list.

Python's own registry is never used: a stranger may name any codec, and one of them (`punycode`)
takes quadratic time.
"""

from __future__ import annotations

from service.sources.payload.tree import UnreadableBody

# Python's codec -> its labels, after the WHATWG's Encoding Standard, in which Latin-1 is
# windows-1252. UTF-8 needs no label: it is always tried first.
_LABELS = {
    "cp1252": "windows-1252 cp1252 iso-8859-1 iso8859-1 iso88591 latin1 latin-1 l1 ascii us-ascii",
    "iso8859-15": "iso-8859-15 iso8859-15 latin-9 latin9",
    "iso8859-2": "iso-8859-2 iso8859-2 latin2 latin-2",
    "iso8859-5": "iso-8859-5",
    "iso8859-7": "iso-8859-7 greek",
    "iso8859-8": "iso-8859-8 hebrew",
    "iso8859-9": "iso-8859-9 latin5 latin-5",
    "cp1250": "windows-1250 cp1250",
    "cp1251": "windows-1251 cp1251",
    "cp1253": "windows-1253 cp1253",
    "cp1254": "windows-1254 cp1254",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "koi8-r": "koi8-r koi8r",
    "koi8-u": "koi8-u koi8u",
    "cp932": "shift_jis shift-jis sjis windows-31j ms_kanji x-sjis cp932",
    "euc_jp": "euc-jp eucjp x-euc-jp",
    "gb18030": "gb18030 gbk gb2312 x-gbk",
    "big5": "big5 big5-hkscs x-x-big5",
    "cp949": "euc-kr euckr ks_c_5601-1987 cp949 windows-949",
    "cp874": "windows-874 tis-620 iso-8859-11",
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def find_codec(label: str) -> str | None:
    """Python's codec for a charset's label; None for a label that is not in the list."""
    return _CODECS.get(label.strip("\"' ").lower()[:40])


def charset_name(codec: str) -> str:
    """The common name of the charset of one of Python's codecs."""
    return _LABELS[codec].partition(" ")[0]


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode_text(raw: bytes, codec: str | None, *, field: str = "body") -> str:
    """Text in UTF-8, in UTF-16 with a byte order mark, or else in the `codec` that was named.

    Raises UnreadableBody if none of them fits.
    """
    if mark := _BYTE_ORDER_MARKS.get(raw[:2]):
        try:
            return raw[2:].decode(mark)
        except UnicodeDecodeError:
            raise UnreadableBody("not UTF-16, as its byte order mark says", field=field) from None
    try:
        return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        if codec is None:
            raise UnreadableBody(f"not UTF-8 at byte {error.start}", field=field) from None
    # windows-1252 leaves five bytes undefined, which browsers read as control characters.
    return raw.decode(codec, "replace")
