"""How each field of a payload was read and why, for `preview --explain` and the console.

It is only worked out on request: the intake does without.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from service.sources.fields.assignment import Assignment, Choice
from service.sources.fields.effort import Effort
from service.sources.fields.owners import ABOUT_FORM, NAMES, PERSONAL, Owner, Ownership
from service.sources.fields.recognition import MAX_NAMED_FIELDS, read_names, shape_of
from service.sources.fields.text import clean_line
from service.sources.fields.values import parse_value
from service.sources.payload.event import ParsedEvent, PayloadField
from service.sources.payload.ignored import is_ignored
from service.sources.payload.tree import Path, Tree, text_of
from service.sources.request import FieldReading, OtherReading
from service.sources.schema import Source

ANSWER, REPEATED, HIDDEN, IGNORED, EMPTY = "answer", "repeated", "hidden", "ignored", "empty"
# A path of `map` that leads nowhere in this payload.
MISSING = "missing"
MAX_VALUE_CHARS = 60
# Replaces the value of a hidden field, which may be a password.
WITHHELD = "…"
BY_PRODUCT = "the product says so"
# The owner where the payload has no word for it.
_NAMELESS = {
    Ownership.COMPANY: "the company",
    Ownership.OTHER: "somebody else",
}


def explain_fields(
    received: Sequence[PayloadField],
    fields: Sequence[PayloadField],
    event: ParsedEvent,
    source: Source,
    *,
    labels: dict[str, str],
    used: Collection[Path],
    partly_used: Collection[Path],
    taken: dict[str, object],
    assignment: Assignment,
) -> Iterator[FieldReading]:
    """Readings of the `received` fields, of paths of `map` without a value, and of the product.

    `fields` are those of them that were read, in order. `used` and `partly_used` are the paths that
    `map` and `read.event_id` took, `taken` the fields of the lead that were filled before names and
    values were read, `labels` the source's own names.
    """
    explainer = _Explainer(fields, event, source, labels, taken, assignment)
    index = 0
    for field in received:
        if index < len(fields) and fields[index] is field:
            if field.path in used or field.path in partly_used:
                yield explainer.read_mapped(field, is_whole=field.path not in partly_used)
            else:
                yield explainer.read(index)
            index += 1
        elif is_ignored(event, source, field.path):
            yield _reading(field, IGNORED, "ignore, in the source file")
        else:
            yield FieldReading(
                field=_written(field.path),
                value=WITHHELD,
                became=HIDDEN,
                why=_why_hidden(field, source),
            )
    for written in source.map_rules:
        if event.find_mapped(written) is None:
            why = "map, in the source file: the payload has no value there"
            yield FieldReading(field=written, value="", became=MISSING, why=why)
    for target, value in event.lead_fields.items():
        if not explainer.is_mapped(target):
            yield FieldReading(field="", value=shorten_value(value), became=target, why=BY_PRODUCT)


def shorten_value(value: Tree) -> str:
    """A value on one line of at most `MAX_VALUE_CHARS`."""
    text = clean_line((text_of(value) or "")[: 10 * MAX_VALUE_CHARS])
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"


class _Explainer:
    def __init__(
        self,
        fields: Sequence[PayloadField],
        event: ParsedEvent,
        source: Source,
        labels: dict[str, str],
        taken: dict[str, object],
        assignment: Assignment,
    ) -> None:
        self.fields = fields
        self.event = event
        self.source = source
        self.taken = taken
        self.assignment = assignment
        # Of its own: to explain a lead must not change it.
        self.effort = Effort()
        names = read_names(shape_of(fields), labels)
        plan = names.finish()
        self.unrelated = names.unrelated
        # Index of a field -> what it may ask for and whose that is -> whether it may be the lead's.
        self.candidates: defaultdict[int, dict[tuple[str, Owner | None], bool]] = defaultdict(dict)
        for one in plan.candidates:
            owner = None if one.owner is None else plan.owners[one.owner]
            self.candidates[one.index][one.target, owner] = True
        for index, target, owner in names.refused:
            self.candidates[index].setdefault((target, owner), False)
        self.choices: defaultdict[int, dict[str, Choice]] = defaultdict(dict)
        for target, choice in assignment.choices.items():
            self.choices[choice.index][target] = choice
        self.people = {
            owner
            for choice in assignment.choices.values()
            for (target, owner), is_eligible in self.candidates[choice.index].items()
            if target == choice.target and target in PERSONAL and owner and is_eligible
        }
        self.rules = [
            (written, rule.to, match[0])
            for written, rule in source.map_rules.items()
            if (match := event.find_mapped(written))
        ]

    def is_mapped(self, target: str) -> bool:
        return any(to == target for _, to, _ in self.rules)

    def read_mapped(self, field: PayloadField, *, is_whole: bool) -> FieldReading:
        """A field that the source file names, under `map` or as `read.event_id`."""
        rules = [
            (written, to) for written, to, path in self.rules if field.path[: len(path)] == path
        ]
        if not rules:
            return _reading(field, "event_id", "read.event_id, in the source file")
        became = [*dict.fromkeys(to for _, to in rules), *([] if is_whole else [ANSWER])]
        written = ", ".join(f'"{name}"' for name, _ in rules)
        return _reading(field, ", ".join(became), f"map of {written}, in the source file")

    def read(self, index: int) -> FieldReading:
        """A field that was read by its name and its value."""
        field = self.fields[index]
        if text_of(field.value) is None:
            return _reading(field, EMPTY, "it has no value")
        others = list(self._list_others(index))
        if choices := self.choices.get(index):
            became = list(choices)
            if not any(choice.is_whole for choice in choices.values()):
                became.append(ANSWER)
            why = dict.fromkeys(choice.why for choice in choices.values())
            return _reading(field, ", ".join(became), "; ".join(why), others)
        if index in self.assignment.repeated:
            return _reading(field, REPEATED, self._why_repeated(index))
        return _reading(field, ANSWER, self._why_answer(index, others), others)

    def _why_repeated(self, index: int) -> str:
        for target, _ in self.candidates[index]:
            if choice := self.assignment.choices.get(target):
                return f"it says the same as {self._name(choice)}"
        return "it says the same as another field"

    def _why_answer(self, index: int, others: list[OtherReading]) -> str:
        if others:
            return "it is not taken for what its name asks for"
        if index >= MAX_NAMED_FIELDS:
            return f"only the names of the first {MAX_NAMED_FIELDS} fields are read"
        if index in self.unrelated:
            return "its name asks for something or somebody else"
        return "its name asks for no field of a lead"

    def _list_others(self, index: int) -> Iterator[OtherReading]:
        chosen = {choice.target for choice in self.choices.get(index, {}).values()}
        for (target, owner), is_eligible in self.candidates[index].items():
            if target not in chosen:
                yield OtherReading(
                    became=target,
                    whose=_name_owner(owner),
                    lost=self._why_lost(index, target, owner, is_eligible=is_eligible),
                )

    def _why_lost(self, index: int, target: str, owner: Owner | None, *, is_eligible: bool) -> str:
        if not is_eligible:
            return "not the form's own" if target in ABOUT_FORM else "another owner"
        if target in self.taken:
            by_map = self.is_mapped(target) or target not in self.event.lead_fields
            return "the source file has another" if by_map else "the product has another"
        parsed = parse_value(target, self.fields[index].value, self.effort)
        if parsed is None:
            return "value unusable"
        choices = self.assignment.choices
        if winner := choices.get(target):
            if self._is_strange(target, owner):
                return f"another owner than {self._name(winner)}"
            return f"a better one: {self._name(winner)}"
        if self._is_strange(target, owner):
            return "another owner"
        if target in NAMES and not NAMES.isdisjoint(choices):
            return "the lead has a name"
        if target in PERSONAL and not self.people and owner and owner.kind > Ownership.PERSON:
            return "unclear whose it is"
        return "the value does not look like one"

    def _is_strange(self, target: str, owner: Owner | None) -> bool:
        """Whether a field belongs to somebody from whom the lead has taken nothing."""
        if owner is None or not self.people or owner in self.people:
            return False
        return target in PERSONAL or (owner.is_object and owner.kind >= Ownership.UNKNOWN)

    def _name(self, choice: Choice) -> str:
        return _written(self.fields[choice.index].path)


def _reading(
    field: PayloadField, became: str, why: str, others: Sequence[OtherReading] = ()
) -> FieldReading:
    return FieldReading(
        field=_written(field.path),
        value=shorten_value(field.value),
        became=became,
        why=why,
        others=tuple(others),
    )


def _written(path: Path) -> str:
    """A path, as the source file writes it."""
    return clean_line(".".join(path)[:1_000])[:200]


def _why_hidden(field: PayloadField, source: Source) -> str:
    names = {field.label, *field.path[-1:]}
    if not names.isdisjoint(source.honeypot):
        return "the honeypot"
    if source.verification.field in names:
        return "the source's secret"
    return "for machines, or a secret"


def _name_owner(owner: Owner | None) -> str:
    if owner is None or owner.kind is Ownership.SELF:
        return ""
    return owner.name or _NAMELESS.get(owner.kind, "somebody")
