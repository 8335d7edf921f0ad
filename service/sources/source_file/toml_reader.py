"""Reads TOML tables into structs and collects every fault, each with its line."""

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

# The keys and list indexes that lead to a value.
Path = tuple[str | int, ...]
S = TypeVar("S", bound=Struct)


# Faults, and how they name keys and values.


class FaultCollector:
    """Collects faults with the lines they stand on."""

    def __init__(self, file: str, lines: LineIndex) -> None:
        self._file = file
        self._lines = lines
        self._faults: list[tuple[int, int, Fault]] = []

    def add(self, path: Path, expected: str, got: object, *, verbatim: bool = False) -> None:
        """Notes a fault; `got` is written as TOML, or as it is where `verbatim`."""
        line = self._lines.line_of(path) or 0
        place = f"{self._file}:{line}" if line else self._file
        fault = Fault(
            where=f"{place} {format_path(path)}".strip(),
            expected=expected,
            got=str(got) if verbatim else format_value(got),
        )
        self._faults.append((line, len(self._faults), fault))

    def line_of(self, path: Path) -> int | None:
        return self._lines.line_of(path)

    def sorted(self) -> list[Fault]:
        """The faults in the order of the file."""
        return [fault for *_, fault in sorted(self._faults, key=lambda entry: entry[:2])]

    def __len__(self) -> int:
        return len(self._faults)


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
MAX_SHOWN_CHARS = 80


def format_path(path: Path) -> str:
    """`sources.contact.rules[2].when."Prénom"`, with list items counted from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            key = part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            text += f".{key}" if text else key
    return text


def format_value(value: object) -> str:
    """A value as TOML would write it, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 3] + "..."


def did_you_mean(name: str, names: Iterable[str], kind: str = "a known key") -> str:
    """What is expected: the nearest of the names if one is close, else all of them."""
    choices = sorted(names)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.7)
    return f"{kind} (did you mean {near[0]}?)" if near else f"{kind}: {', '.join(choices)}"


# From a table to a struct.


def read_table(
    kind: type[S],
    table: object,
    path: Path,
    faults: FaultCollector,
    *,
    skip: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The valid values of a table by the struct's attribute names; unset keys are left out.

    Keys in `skip` are left to the caller. Unknown keys and wrong types go to `faults`.
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
        name = names[key]
        _read_value(hints[name], value, (*path, key), faults, partial(values.__setitem__, name))
    return values


def _read_struct(kind: type[S], table: object, path: Path, faults: FaultCollector) -> S | None:
    """A struct of the valid values, so that the rest can be checked too.

    None if a required key is missing or wrong.
    """
    values = read_table(kind, table, path, faults)
    if not isinstance(table, dict):
        return None
    required = [item for item in msgspec.structs.fields(kind) if item.required]
    for item in required:
        if item.encode_name not in table:
            faults.add(path, f"the key {item.encode_name}", "none", verbatim=True)
    return kind(**values) if all(item.name in values for item in required) else None


def _read_value(
    hint: object, value: object, path: Path, faults: FaultCollector, keep: Callable[[Any], None]
) -> None:
    """Reads one value by its type hint and hands it to `keep` if it is valid."""
    if parse := _find_parser(hint):
        try:
            keep(parse(value))
        except ValueError as error:
            faults.add(path, str(error), value)
        return
    members = _union_members(hint)
    struct = _find_struct(members)
    item_types = [get_args(member) for member in members if get_origin(member) is list]
    item_struct = next(filter(None, map(_find_struct, item_types)), None)
    if get_origin(hint) is dict and (rule := _find_struct(_union_members(get_args(hint)[1]))):
        _read_struct_table(hint, rule, value, path, faults, keep)
    elif item_struct is not None and (struct is None or isinstance(value, list)):
        _read_list(item_struct, value, path, faults, keep)
    elif struct is not None:
        if (result := _read_struct(struct, value, path, faults)) is not None:
            keep(result)
    else:
        try:
            keep(msgspec.convert(value, hint, strict=True))
        except msgspec.ValidationError:
            faults.add(path, _describe_type(hint), value)


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
    items = [_read_struct(kind, item, (*path, at), faults) for at, item in enumerate(value)]
    if all(item is not None for item in items):
        keep(items)


def _read_struct_table(
    hint: object,
    kind: type[Struct],
    table: object,
    path: Path,
    faults: FaultCollector,
    keep: Callable[[Any], None],
) -> None:
    """A table whose keys people choose, and whose values may be tables themselves."""
    if not isinstance(table, dict):
        faults.add(path, _describe_type(hint), table)
        return
    values: dict[str, Any] = {}
    hint_of_one = get_args(hint)[1]
    for key, value in table.items():
        if isinstance(value, dict):
            if (item := _read_struct(kind, value, (*path, key), faults)) is not None:
                values[key] = item
        else:
            try:
                values[key] = msgspec.convert(value, hint_of_one, strict=True)
            except msgspec.ValidationError:
                faults.add((*path, key), _describe_type(hint_of_one), value)
    keep(values)


def _find_parser(hint: object) -> Callable[[object], Any] | None:
    """The function that `schema.parsed_by` gave to a key."""
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Meta) and extra.extra and "parse" in extra.extra:
                parse: Callable[[object], Any] = extra.extra["parse"]
                return parse
    return None


def _find_struct(hints: Iterable[object]) -> type[Struct] | None:
    structs = (hint for hint in hints if isinstance(hint, type) and issubclass(hint, Struct))
    return next(structs, None)


def _union_members(hint: object) -> list[object]:
    """The alternatives of a union, without None."""
    if get_origin(hint) not in (Union, types.UnionType):
        return [hint]
    inner = [option for option in get_args(hint) if option is not type(None)]
    return [member for option in inner for member in _union_members(option)]


# What a type is called: one value of it, and several.
_TYPE_WORDS: dict[object, tuple[str, str]] = {
    str: ("a string", "strings"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
}


def _describe_type(hint: object) -> str:
    """A type in plain words, such as `a string or a list of strings`."""
    return " or ".join(dict.fromkeys(map(_describe_one, _union_members(hint))))


def _describe_one(hint: object) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if origin is list:
        return f"a list of {_describe_several(get_args(hint)[0])}"
    if origin is dict:
        return f"a table of {_describe_several(get_args(hint)[1])}"
    if _find_struct([hint]):
        return "a table"
    return _TYPE_WORDS.get(hint, ("another value", ""))[0]


def _describe_several(hint: object) -> str:
    if get_origin(hint) is list:
        return f"lists of {_describe_several(get_args(hint)[0])}"
    if get_origin(hint) is Literal:
        return " and ".join(map(str, get_args(hint)))
    words = [
        "tables" if _find_struct([member]) else _TYPE_WORDS.get(member, ("", "values"))[1]
        for member in _union_members(hint)
    ]
    return " or ".join(dict.fromkeys(words))


# The lines of tables and keys, which tomllib does not give.

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEY})\s*\]")
_PAIR = re.compile(rf"\s*({_KEY})\s*=(.*)", re.DOTALL)
# The most lines that one value may take.
MAX_VALUE_LINES = 400


class LineIndex:
    """The line of every table and key of a TOML text that tomllib accepts."""

    def __init__(self, text: str) -> None:
        self._line_by_path: dict[Path, int] = {}
        self._last_item_by_list: dict[Path, int] = {}
        self._read(text.split("\n"))

    def line_of(self, path: Path) -> int | None:
        """The line of a path or, for keys of an inline table, of what is nearest around it."""
        prefixes = (path[:length] for length in range(len(path), 0, -1))
        lines = (self._line_by_path[one] for one in prefixes if one in self._line_by_path)
        return next(lines, None)

    def _read(self, lines: list[str]) -> None:
        table: Path = ()
        at = 0
        while at < len(lines):
            lines_taken = 1
            if header := _HEADER.match(lines[at]):
                table = self._resolve_header(_split_key(header[2]), is_list=header[1] == "[[")
                self._note(table, at + 1)
            elif pair := _PAIR.match(lines[at]):
                self._note((*table, *_split_key(pair[1])), at + 1)
                lines_taken = _count_lines(pair[2], lines[at + 1 : at + MAX_VALUE_LINES])
            at += lines_taken

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self._line_by_path.setdefault(path[:length], line)

    def _resolve_header(self, parts: tuple[str, ...], *, is_list: bool) -> Path:
        """The path of a header, with the index of every list of tables on its way."""
        path: Path = ()
        for part in parts[:-1]:
            path = (*path, part)
            if path in self._last_item_by_list:
                path = (*path, self._last_item_by_list[path])
        path = (*path, parts[-1])
        if is_list:
            self._last_item_by_list[path] = self._last_item_by_list.get(path, -1) + 1
            path = (*path, self._last_item_by_list[path])
        return path


def _split_key(key: str) -> tuple[str, ...]:
    """`a."b c".d` as its three parts, read by tomllib itself."""
    table = tomllib.loads(f"{key} = 0")
    parts: list[str] = []
    while isinstance(table, dict):
        part, table = next(iter(table.items()))
        parts.append(part)
    return tuple(parts)


def _count_lines(value: str, following: list[str]) -> int:
    """How many lines a value takes: as many as tomllib needs to parse it."""
    for extra, line in enumerate(["", *following]):
        value = value if extra == 0 else f"{value}\n{line}"
        try:
            tomllib.loads(f"x ={value}")
        except tomllib.TOMLDecodeError:
            continue
        return extra + 1
    return 1
