"""A TOML table into a struct, collecting every fault on the way instead of stopping at the
first.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
import types
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from service.sources.schema import Fault

# Which line of a TOML text a table or key stands on; tomllib does not say.

Path = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEY})\s*\]")
_PAIR = re.compile(rf"\s*({_KEY})\s*=(.*)", re.DOTALL)
MAX_VALUE_LINES = 400
"""Lines of one value that are read as belonging to it."""


class LineIndex:
    """The line of every table and key of a TOML text that tomllib accepts."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}
        self._read(text.split("\n"))

    def line_of(self, path: Path) -> int | None:
        """The line of the path or, for keys of an inline table, of the nearest thing around it."""
        return next(
            (
                self.found[path[:length]]
                for length in range(len(path), 0, -1)
                if path[:length] in self.found
            ),
            None,
        )

    def _read(self, lines: list[str]) -> None:
        table: Path = ()
        at = 0
        while at < len(lines):
            taken = 1
            if header := _HEADER.match(lines[at]):
                table = self._table(_parts(header[2]), is_list=header[1] == "[[")
                self._note(table, at + 1)
            elif pair := _PAIR.match(lines[at]):
                self._note((*table, *_parts(pair[1])), at + 1)
                taken = _length(pair[2], lines[at + 1 : at + MAX_VALUE_LINES])
            at += taken

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.found.setdefault(path[:length], line)

    def _table(self, parts: tuple[str, ...], *, is_list: bool) -> Path:
        """The path of a header, with the index of every list of tables on its way."""
        path: Path = ()
        for part in parts[:-1]:
            path = (*path, part)
            if path in self._tables:
                path = (*path, self._tables[path])
        path = (*path, parts[-1])
        if is_list:
            self._tables[path] = self._tables.get(path, -1) + 1
            path = (*path, self._tables[path])
        return path


def _parts(key: str) -> tuple[str, ...]:
    """`a."b c".d` as its three parts, read by tomllib itself."""
    table = tomllib.loads(f"{key} = 0")
    parts: list[str] = []
    while isinstance(table, dict):
        part, table = next(iter(table.items()))
        parts.append(part)
    return tuple(parts)


def _length(value: str, following: list[str]) -> int:
    """How many lines a value takes: as many as tomllib needs."""
    for extra, line in enumerate(["", *following]):
        value = value if extra == 0 else f"{value}\n{line}"
        try:
            tomllib.loads(f"x ={value}")
        except tomllib.TOMLDecodeError:
            continue
        return extra + 1
    return 1


S = TypeVar("S", bound=Struct)

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_WORDS: dict[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
}


class FaultCollector:
    """Collects faults with the line they stand on."""

    def __init__(self, file: str, lines: LineIndex) -> None:
        self._file = file
        self._lines = lines
        self._found: list[tuple[int, int, Fault]] = []

    def add(self, path: Path, expected: str, got: object, *, verbatim: bool = False) -> None:
        """`got` is shown as TOML would write it; `verbatim` for words of our own."""
        line = self._lines.line_of(path) or 0
        place = f"{self._file}:{line}" if line else self._file
        fault = Fault(
            where=f"{place} {format_path(path)}".strip(),
            expected=expected,
            got=str(got) if verbatim else format_value(got),
        )
        self._found.append((line, len(self._found), fault))

    def line_of(self, path: Path) -> int | None:
        return self._lines.line_of(path)

    def sorted(self) -> list[Fault]:
        """In the order of the file."""
        return [fault for *_, fault in sorted(self._found, key=lambda item: item[:2])]

    def __len__(self) -> int:
        return len(self._found)


def format_path(path: Path) -> str:
    """`sources.contact.rules[2].when."Prénom"`; tables of a list are counted from 1, as people
    do.
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += ("." if text else "") + (
                part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            )
    return text


def format_value(value: object) -> str:
    """A value as TOML would write it, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def did_you_mean(name: str, known: Iterable[str], kind: str = "a known key") -> str:
    """The nearest of the known names where one is near, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"{kind} (did you mean {near[0]}?)" if near else f"{kind}: {', '.join(names)}"


def read_table(
    kind: type[S],
    table: object,
    path: Path,
    faults: FaultCollector,
    *,
    skip: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The values of a table by the struct's attribute names; only those that are there and right.

    Keys in `skip` are read by the caller. Unknown keys and wrong types go to `faults`.
    """
    if not isinstance(table, dict):
        faults.add(path, "a table", table)
        return {}
    hints = get_type_hints(kind, include_extras=True)
    names = {item.encode_name: item.name for item in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in skip:
            continue
        if key not in names:
            faults.add((*path, key), did_you_mean(key, names), "an unknown key", verbatim=True)
            continue
        read_value(
            hints[names[key]], value, (*path, key), faults, partial(values.__setitem__, names[key])
        )
    return values


def read_struct(kind: type[S], table: object, path: Path, faults: FaultCollector) -> S | None:
    """A struct of what is right in a table, so that the rest of it can be checked too; None if a
    key is missing that it needs.
    """
    values = read_table(kind, table, path, faults)
    complete = isinstance(table, dict)
    for item in msgspec.structs.fields(kind):
        if item.required and isinstance(table, dict) and item.encode_name not in table:
            faults.add(path, f"the key {item.encode_name}", "none", verbatim=True)
        complete = complete and (not item.required or item.name in values)
    return kind(**values) if complete else None


def read_value(
    hint: object, value: object, path: Path, faults: FaultCollector, keep: Callable[[Any], None]
) -> None:
    """Read one value by its type hint; `keep` takes it if it is right."""
    parse = _parser(hint)
    if parse is not None:
        try:
            keep(parse["parse"](value))
        except ValueError as error:
            faults.add(path, str(error) or parse["expected"], value)
        return
    several = next(
        (
            item
            for option in union_members(hint)
            if get_origin(option) is list
            if (item := _struct(get_args(option)))
        ),
        None,
    )
    struct = _struct(union_members(hint))
    if several is not None and (struct is None or isinstance(value, list)):
        _read_list(several, value, path, faults, keep)
        return
    if struct is not None:
        if (found := read_struct(struct, value, path, faults)) is not None:
            keep(found)
        return
    try:
        keep(msgspec.convert(value, hint, strict=True))
    except msgspec.ValidationError:
        faults.add(path, describe_type(hint), value)


def _struct(hints: Iterable[object]) -> type[Struct] | None:
    return next(
        (hint for hint in hints if isinstance(hint, type) and issubclass(hint, Struct)), None
    )


def _read_list(
    kind: type[Struct],
    value: object,
    path: Path,
    faults: FaultCollector,
    keep: Callable[[Any], None],
) -> None:
    if not isinstance(value, list):
        faults.add(path, "a list of tables", value)
        return
    found = [read_struct(kind, item, (*path, at), faults) for at, item in enumerate(value)]
    if all(item is not None for item in found):
        keep(found)


def union_members(hint: object) -> list[object]:
    """The alternatives of a union, without None."""
    if get_origin(hint) in (Union, types.UnionType):
        return [
            inner
            for option in get_args(hint)
            if option is not type(None)
            for inner in union_members(option)
        ]
    return [hint]


def describe_type(hint: object) -> str:
    """A type as people say it."""
    said = [_one(option) for option in union_members(hint)]
    return " or ".join(dict.fromkeys(said))


def _one(hint: object) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(item) for item in get_args(hint))
    if origin is list:
        return f"a list of {describe_type(get_args(hint)[0])}s"
    if origin is dict:
        return "a table of texts"
    return _WORDS.get(hint, "another value")


def _parser(hint: object) -> dict[str, Any] | None:
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Meta) and extra.extra and "parse" in extra.extra:
                return extra.extra
    return None
