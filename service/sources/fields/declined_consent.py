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


def is_refusal(words: tuple[str, ...]) -> bool:
    """Whether a sentence, in the words of `split_words`, refuses what it speaks of."""
    terms = vocabulary()
    is_short = len(words) <= MAX_SHORT_WORDS
    opening = words if is_short else words[:MAX_OPENING_WORDS]
    if not terms.no_objection.isdisjoint(words[: MAX_OPENING_WORDS + 1]):
        return False
    if not terms.negation.isdisjoint(opening) or not terms.negation_in_front.isdisjoint(words[:1]):
        return True
    return is_short and (
        "optout" in "".join(words)
        or "optedout" in "".join(words)
        or any(
            word in terms.refusal or (len(word) >= MIN_REFUSAL_CHARS and word in terms.no)
            for word in words
        )
    )


def has_negation(words: tuple[str, ...]) -> bool:
    """Whether a sentence says no of anything, wherever it does."""
    terms = vocabulary()
    return not (terms.negation | terms.negation_in_front).isdisjoint(words)
