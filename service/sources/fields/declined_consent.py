"""Whether a sentence refuses consent: `I do not agree`, `consent declined`, `jeg accepterer ikke`.

A ticked box with such a label, or such an answer, is never taken for consent.
"""

from __future__ import annotations

from service.sources.languages.vocabulary import vocabulary

# A longer text explains what somebody ticks, and may say how to take it back.
MAX_SHORT_WORDS = 6
# A negation among these refuses; a later one may only say what will not be done with the data.
MAX_OPENING_WORDS = 4
MIN_REFUSAL_CHARS = 5
_NEGATIONS = frozenset(
    (
        "not", "don", "never", "nicht", "kein", "keine", "keinen", "ne", "pas", "non", "nao",
        "niet", "geen", "inte", "icke", "ikke", "ej", "nie", "nem", "не", "ні", "δεν", "לא", "لا",
        "tidak", "không", "khong",
    )
)  # fmt: skip
# Words of other languages as well, so that they count only where a sentence begins.
_NEGATIONS_IN_FRONT = frozenset({"no", "nu", "nein", "nej", "nei", "nee", "ei"})
# Besides the words that are a refusal by themselves (`declined`, `refused`).
_REFUSALS = frozenset(
    (
        "withdraw", "withheld", "withhold", "without", "revoke", "remove", "reject", "verweigere",
        "widerrufe", "widerspreche", "lehne", "refusons", "niego", "nego", "revoco", "weiger",
        "odmitam", "nesouhlasim", "nesuhlasim",
    )
)  # fmt: skip
_NO_OBJECTION = frozenset({"mind", "objection", "problem", "против", "проти"})


def is_refusal(words: tuple[str, ...]) -> bool:
    """Whether a sentence, in the words of `split_words`, refuses what it speaks of."""
    is_short = len(words) <= MAX_SHORT_WORDS
    opening = words if is_short else words[:MAX_OPENING_WORDS]
    if not _NO_OBJECTION.isdisjoint(words[: MAX_OPENING_WORDS + 1]):
        return False
    if not _NEGATIONS.isdisjoint(opening) or not _NEGATIONS_IN_FRONT.isdisjoint(words[:1]):
        return True
    refusals = vocabulary().no
    return is_short and (
        "optout" in "".join(words)
        or "optedout" in "".join(words)
        or any(
            word in _REFUSALS or (len(word) >= MIN_REFUSAL_CHARS and word in refusals)
            for word in words
        )
    )
