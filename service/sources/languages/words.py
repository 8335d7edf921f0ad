"""Labels and names of fields as words, in every script; what follows is lookups of phrases."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from worker.lead.typed_text import normalize_signs

# Characters of a label that are read; what is longer is a sentence, known by how it begins.
MAX_LABEL_CHARS = 200
# Parts of a label, and words of it.
MAX_LABEL_PARTS = 12
MAX_LABEL_WORDS = 50
# Some characters stand for seven others: the rest of what they become is cut off.
MAX_WORD_CHARS = 2 * MAX_LABEL_CHARS

_LETTERS = str.maketrans(
    {
        "ß": "ss", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe",
        "đ": "d", "Đ": "D", "ı": "i", "ð": "d", "þ": "th", "ə": "a",
        "\u0640": None,  # the stroke that only lengthens an Arabic word
        "ى": "ي", "ة": "ه", "ی": "ي", "ک": "ك", "\u200c": None, "\u200d": None,
        "’": "'", "׳": "'", "״": '"', "＇": "'",
    }
)  # fmt: skip
_CAMEL = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"
)
_ASCII_WORD = re.compile(r"[a-z]+|[0-9]+")
_WORD = re.compile(r"[^\W\d_]+|[0-9]+")
_ELISION = re.compile(r"\b([ldnjmtsc]|qu|all|dell|nell|sull)['`´](?=\w)", re.IGNORECASE)
_QUOTES = re.compile(r"(?<=\w)['\"`´](?=\w)")
# What stands between the languages of one label, or sets off a remark.
_SEPARATORS = re.compile(
    r"[/|•·;:(){}\[\]<>【】「」（）［］〔〕\n\r\t]+|\s[–—-]\s|\s?\*+\s?|[,，、](?=\s)"
)


@lru_cache(maxsize=16_384)
def split_words(label: str) -> tuple[str, ...]:
    """The words of a label, without accents, case or punctuation.

    `emailAddress` is two words, `q11_name` three; so is `Ім'я та прізвище`.
    """
    text = label[:MAX_LABEL_CHARS]
    if "'" in text or "’" in text:
        text = _ELISION.sub(r"\1 ", text.replace("’", "'"))
    if text.isascii():
        return tuple(_ASCII_WORD.findall(_CAMEL.sub(" ", text).lower())[:MAX_LABEL_WORDS])
    text = normalize_signs("NFKD", text.translate(_LETTERS)[:MAX_LABEL_CHARS])
    text = text[:MAX_WORD_CHARS]
    if any(map(unicodedata.combining, text)):
        text = "".join(one for one in text if not unicodedata.combining(one))
    words = _WORD.findall(_QUOTES.sub("", _CAMEL.sub(" ", text)).casefold())
    return tuple(words[:MAX_LABEL_WORDS])


def to_phrase(label: str) -> str:
    """The words of a label as one string: `E-Mail`, `e_mail` and `eMail` are one phrase."""
    return "".join(split_words(label))


def split_languages(label: str) -> list[str]:
    """The parts of a label that says the same in several languages, or that carries a remark."""
    parts = _SEPARATORS.split(label[:MAX_LABEL_CHARS], MAX_LABEL_PARTS)
    return [part for part in parts if part and part.strip()]
