"""Which line of a TOML text a table or key stands on; tomllib does not say."""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_KEY})\s*\]")
_PAIR = re.compile(rf"\s*({_KEY})\s*=(.*)", re.DOTALL)
LONGEST_VALUE = 400
"""Lines of one value that are read as belonging to it."""


class Lines:
    """The line of every table and key of a TOML text that tomllib accepts."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}
        self._read(text.split("\n"))

    def of(self, path: Path) -> int | None:
        """The line of the path or, for keys of an inline table, of the nearest thing around it."""
        return next((self.found[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.found), None)

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
                taken = _length(pair[2], lines[at + 1 : at + LONGEST_VALUE])
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
