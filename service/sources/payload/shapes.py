"""Turns the shapes in which products write questions and answers into plain objects.

| shape                                                    | becomes                             |
|----------------------------------------------------------|-------------------------------------|
| `[{"label": "E-mail", "value": "a@b"}, …]`, also by ids  | `{"E-mail": "a@b", …}`              |
| `[{"email": "a@b"}, {"name": "Ada"}]`                    | `{"email": "a@b", "name": "Ada"}`   |
| `{"fields": ["E-mail", …], "values": ["a@b", …]}`        | `{"fields": {"E-mail": "a@b", …}}`  |
| `{"label": "Ada", "id": 3}` and `[{"label": …}]` as value | `"Ada"`, `["Ada", …]`              |
| lines `first = Ada`, `last = …` in one text              | `{"first": "Ada", "last": …}`       |
| JSON in the text of a field                              | what the JSON holds                 |

A shape that `[sources.X.read]` or `map` addresses is left alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import filterfalse

from service.sources.payload.json import parse_json
from service.sources.payload.tree import Path, Tree, UnreadableBody, add_value, text_of
from worker.lead.typed_text import normalize_signs

# Keys of a question's name and of its value, as `plain_letters` writes them, the best first.
NAME_KEYS = (
    "label", "title", "question", "questiontext", "fieldlabel", "name", "fieldname", "key",
    "field", "columnname", "prompt", "variable", "part", "nazev", "popisek", "navn", "nimi", "nom",
    "libelle", "nombre", "nome", "naam", "namn", "nazwa", "bezeichnung", "feld", "champ", "campo",
    "frage", "pergunta", "pregunta", "otazka", "domanda", "vraag", "fraga", "pytanie", "etykieta",
    "etichetta", "etiqueta", "sprsmal", "spørgsmal", "spørsmal", "kysymys", "kerdes", "intrebare",
    "soru", "alan", "pertanyaan", "cauhoi", "pole", "felt", "falt", "kentta", "mezo", "camp",
    "вопрос", "поле", "название", "питання", "ερωτηση", "πεδιο", "سوال", "السوال", "الحقل",
    "שאלה", "שדה", "質問", "項目", "項目名", "问题", "問題", "字段", "字段名",
    "질문", "항목", "q", "ref", "id",
)  # fmt: skip
VALUE_KEYS = (
    "value", "answer", "answers", "values", "response", "stringvalue", "text", "content", "val",
    "input", "data", "a", "hodnota", "wert", "valeur", "valor", "valore", "waarde", "varde",
    "wartosc", "antwort", "reponse", "respuesta", "resposta", "risposta", "antwoord", "svar",
    "odpoved", "odpowiedz", "vastaus", "arvo", "valasz", "ertek", "raspuns", "valoare", "cevap",
    "deger", "jawaban", "nilai", "traloi", "verdi", "værdi", "ответ", "значение", "відповідь",
    "значення", "απαντηση", "τιμη", "اجابة", "الاجابة", "جواب", "الجواب", "القيمة",
    "תשובה", "ערך", "回答", "答え", "内容", "値", "答案", "值", "답변", "답", "값",
)  # fmt: skip
# Keys of the answer to a question that is named by its id alone.
_ANSWER_KEYS = VALUE_KEYS[:5]
# Keys of the text of a choice, and of what may be beside it.
_CHOICE_KEYS = ("label", "value", "text", "name", "title", "content", "number", "answer")
_BESIDE_CHOICE = frozenset(
    (
        "id", "uuid", "key", "ref", "value", "label", "text", "name", "title", "order", "index",
        "position", "selected", "checked", "score", "type", "image", "imageurl", "optionid",
        "choiceid", "slug",
    )
)  # fmt: skip
_COLUMNS = ("fields", "columns", "headers", "names", "labels", "questions", "keys", "header")
_CELLS = ("values", "row", "cells", "answers", "data", "responses", "record")
MAX_DEPTH = 6
# Characters of a key that are compared with those above.
MAX_KEY_CHARS = 100
MAX_LISTS = 20
MAX_LINES = 20
_NO_LETTER = re.compile(r"[\W\d_]+")
_ASSIGNMENT = re.compile(r"([A-Za-z][\w -]{0,40}?) = ?(.*)")
_EMBEDDED = frozenset(
    (
        "payload", "data", "json", "body", "rawrequest", "fields", "form", "lead", "formdata",
        "submission", "event", "message", "entry",
    )
)  # fmt: skip


def flatten_shapes(
    tree: Tree, is_addressed: Callable[[Path], bool], is_label: Callable[[str], object]
) -> Tree:
    """The tree with every known shape turned into plain objects.

    `is_addressed` tells whether the source file names a path or anything below it: that part stays
    as it is. `is_label` tells whether a text asks for a field of the lead.
    """
    if not isinstance(tree, dict | list) or _is_flat(tree):
        return tree
    return _Flattener(is_addressed, is_label).flatten(tree, ())


class _Flattener:
    def __init__(
        self, is_addressed: Callable[[Path], bool], is_label: Callable[[str], object]
    ) -> None:
        self.is_addressed = is_addressed
        self.is_label = is_label
        self.lists = 0

    def flatten(self, tree: Tree, path: Path) -> Tree:
        if len(path) > MAX_DEPTH:
            return tree
        if isinstance(tree, dict):
            return self._flatten_object(tree, path)
        if isinstance(tree, list) and tree and isinstance(tree[0], dict):
            return self._flatten_list(tree, path)
        if isinstance(tree, list) and len(tree) > 1 and isinstance(tree[0], list):
            return self._flatten_rows(tree, path)
        if isinstance(tree, str):
            return self._flatten_text(tree, path)
        return tree

    def _flatten_object(self, tree: dict[str, Tree], path: Path) -> Tree:
        if len(tree) > 1 and all(isinstance(item, dict) for item in tree.values()):
            items = list(tree.values())
            if (keys := self._pair_keys(items, path)) and _are_ids(tree):
                return _from_pairs(items, *keys)
        tree = _take_labels(tree)
        changed: dict[str, Tree] | None = None
        columns = self._parallel_columns(tree, path)
        for key, value in tree.items():
            if isinstance(value, str):
                if value[:1] not in ("{", "[") and " = " not in value:
                    continue
            elif not isinstance(value, dict | list):
                continue
            if columns and key == columns[0]:
                new: Tree = columns[1]
            else:
                new = self.flatten(value, (*path, key))
            if new is not value:
                changed = changed or dict(tree)
                changed[key] = new
        if columns and changed:
            changed.pop(columns[2], None)
        return tree if changed is None else changed

    def _flatten_list(self, items: list[Tree], path: Path) -> Tree:
        self.lists += 1
        if self.lists > MAX_LISTS or not all(isinstance(item, dict) for item in items):
            return items
        if keys := self._pair_keys(items, path):
            return _from_pairs(items, *keys)
        is_split = len(items) > 1 and all(len(item) == 1 for item in items)
        names = {next(iter(item)) for item in items} if is_split else set()
        if is_split and len(names) == len(items) and not self.is_addressed(path):
            return {key: value for item in items for key, value in item.items()}
        new = [self.flatten(item, (*path, str(at))) for at, item in enumerate(items)]
        return new if any(a is not b for a, b in zip(new, items, strict=True)) else items

    def _flatten_rows(self, rows: list[Tree], path: Path) -> Tree:
        """`[["Your name", "Ada"], ["E-mail", "a@b"]]` as an object."""
        are_pairs = all(
            isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) for row in rows
        )
        if (
            not are_pairs
            or self.is_addressed(path)
            or not any(self.is_label(row[0]) for row in rows[:MAX_LISTS])
        ):
            return rows
        fields: dict[str, Tree] = {}
        for name, value in rows:
            fields.setdefault(name, value)
        return fields

    def _flatten_text(self, text: str, path: Path) -> Tree:
        first = text[:1]
        if first in ("{", "[") and len(path) == 1 and plain_letters(path[0]) in _EMBEDDED:
            try:
                tree = parse_json(text)
            except UnreadableBody:
                return text
            return tree if isinstance(tree, dict | list) and not self.is_addressed(path) else text
        if " = " in text and len(path) == 1:
            return _from_lines(text)
        return text

    def _pair_keys(self, items: list[Tree], path: Path) -> tuple[str, str] | None:
        """The keys of name and value, if the objects are questions with their answers."""
        return self._known_pair_keys(items, path) or self._unknown_pair_keys(items, path)

    def _unknown_pair_keys(self, items: list[Tree], path: Path) -> tuple[str, str] | None:
        """The keys, if their words are unknown but the values of one of them ask for fields."""
        keys = list(items[0])
        is_uniform = (
            len(items) > 1
            and 1 < len(keys) < 6
            and all(item.keys() == items[0].keys() for item in items)
        )
        if not is_uniform or self.is_addressed(path):
            return None
        texts = [key for key in keys if all(isinstance(item[key], str) for item in items)]
        # Questions differ, unlike their types: each text counts once.
        labels = {
            key: sum(
                bool(self.is_label(text)) for text in {item[key] for item in items[:MAX_LISTS]}
            )
            for key in texts
        }
        name_key = max(texts, key=lambda key: labels[key], default=None)
        if name_key is None or 3 * labels[name_key] < min(len(items), MAX_LISTS):
            return None
        rest = [key for key in keys if key != name_key]
        return name_key, max(rest, key=lambda key: (*_variety(items, key), keys.index(key)))

    def _known_pair_keys(self, items: list[Tree], path: Path) -> tuple[str, str] | None:
        keys = {plain_letters(key): key for key in items[0]}
        name_key = next(
            (
                key
                for word in NAME_KEYS
                if (key := keys.get(word))
                and all(isinstance(item.get(key), str) and item[key] for item in items)
            ),
            None,
        )
        if name_key is None:
            return None
        keys = {plain_letters(key): key for item in reversed(items[:5]) for key in item}
        value_key = next(
            (
                key
                for word in VALUE_KEYS
                if (key := keys.get(word))
                and key != name_key
                and 2 * sum(key in item for item in items) >= len(items)
            ),
            None,
        )
        if value_key is None or self.is_addressed(path):
            return None
        if (
            plain_letters(name_key) in ("id", "ref")
            and plain_letters(value_key) not in _ANSWER_KEYS
        ):
            return None
        names = {item[name_key] for item in items}
        return (name_key, value_key) if 2 * len(names) > len(items) else None

    def _parallel_columns(
        self, tree: dict[str, Tree], path: Path
    ) -> tuple[str, dict[str, Tree], str] | None:
        """The key of the names, the object of names and values, and the key of the values."""
        if sum(isinstance(value, list) for value in tree.values()) < 2:
            return None
        columns = next((key for key in tree if plain_letters(key) in _COLUMNS), None)
        if columns is None or not isinstance(names := tree[columns], list) or len(names) < 2:
            return None
        cells = next((key for key in tree if plain_letters(key) in _CELLS and key != columns), None)
        values = tree.get(cells) if cells else None
        if isinstance(values, list) and len(values) == 1 and isinstance(values[0], list):
            values = values[0]
        are_names = all(isinstance(name, str) and name for name in names)
        if cells is None or not isinstance(values, list) or len(values) != len(names):
            return None
        if not are_names or len(set(names)) != len(names) or self.is_addressed(path):
            return None
        return columns, dict(zip(names, values, strict=True)), cells


def _variety(items: list[Tree], key: str) -> tuple[int, int]:
    """How many addresses and how many texts a key has: answers vary, unlike types."""
    texts = {text_of(item[key]) or "" for item in items[:MAX_LISTS]}
    return sum("@" in text for text in texts), len(texts)


def _take_labels(tree: dict[str, Tree]) -> dict[str, Tree]:
    """`{"field_1": "Ada", "field_1_label": "Your name"}` as `{"Your name": "Ada"}`."""
    labelled = {
        key: key.removesuffix("_label").removesuffix("_associated")
        for key in tree
        if key.endswith("_label")
    }
    labels = {
        labelled[key]: text
        for key, text in tree.items()
        if key in labelled and isinstance(text, str) and text
    }
    if labels.keys().isdisjoint(tree):
        return tree
    renamed = {labels.get(key, key): value for key, value in tree.items()}
    used = {key for key, field in labelled.items() if field in tree}
    return {key: value for key, value in renamed.items() if key not in used}


def _is_flat(tree: Tree) -> bool:
    """Whether an object holds only plain values, as those of most senders do."""
    if not isinstance(tree, dict):
        return False
    for key, value in tree.items():
        if isinstance(value, str):
            if value[:1] in ("{", "[") or " = " in value:
                return False
        elif value is not None and not isinstance(value, bool):
            return False
        if key.endswith("_label"):
            return False
    return True


def plain_value(value: Tree) -> Tree:
    """The value of a question: the label of a choice, or of each of several."""
    if isinstance(value, dict):
        keys = {plain_letters(key): key for key in value}
        if _BESIDE_CHOICE.issuperset(keys):
            chosen = next((keys[word] for word in _CHOICE_KEYS if word in keys), None)
            if chosen and not isinstance(value[chosen], dict | list):
                return value[chosen]
        return value
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        items = [plain_value(item) for item in value]
        if not any(isinstance(item, dict | list) for item in items):
            return items[0] if len(items) == 1 else items
    return value


def _from_pairs(items: list[Tree], name_key: str, value_key: str) -> dict[str, Tree]:
    """The questions as one object."""
    fields: dict[str, Tree] = {}
    for item in items:
        add_value(fields, item[name_key], plain_value(item.get(value_key)))
    return fields


def _from_lines(text: str) -> Tree:
    """`first = Ada` and `last = Lovelace`, each on a line of one text, without the field's type."""
    matches = [_ASSIGNMENT.fullmatch(line.strip()) for line in text.strip().splitlines()]
    if not matches or len(matches) > MAX_LINES or not all(matches):
        return text
    parts = {match[1]: match[2].strip() for match in matches if match}
    kind = parts.pop("field_type", None)
    if kind is None and not parts.keys() <= {"first", "last", "middle", "prefix", "value"}:
        return text
    return parts["value"] if parts.keys() == {"value"} else parts


def _are_ids(tree: dict[str, Tree]) -> bool:
    """Whether an object's keys are ids of its questions rather than names that say something."""
    return all(key.isdigit() for key in tree) or all(
        key in (text_of(item.get("id")), text_of(item.get("name")), text_of(item.get("key")))
        for key, item in tree.items()
    )


def plain_letters(key: str) -> str:
    """A key's letters in lower case, without accents, digits and punctuation."""
    key = key[:MAX_KEY_CHARS]
    if key.isascii():
        return _NO_LETTER.sub("", key.lower())
    return _NO_LETTER.sub("", _decompose(key.casefold()))


def _decompose(text: str) -> str:
    """The text without accents; the syllables of Hangul stay whole."""
    letters = normalize_signs("NFKD", text)
    return unicodedata.normalize("NFC", "".join(filterfalse(unicodedata.combining, letters)))
