"""Measures the layout of the code: sizes, names used twice, arrows between folders.

    python -m tests.tools.layout [--root DIR]

prints the table of `docs/architecture.md`.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

PACKAGES = ("service", "worker")


class Layout:
    """The modules of a checkout: path below the root -> syntax tree and number of lines."""

    def __init__(self, root: Path) -> None:
        self.root = root
        paths = sorted(path for package in PACKAGES for path in (root / package).rglob("*.py"))
        texts = {path.relative_to(root): path.read_text("utf-8") for path in paths}
        self.lines = {path: text.count("\n") for path, text in texts.items()}
        self.trees = {path: ast.parse(text) for path, text in texts.items()}

    def sized(self) -> list[int]:
        """Lines of each file that holds code, smallest first."""
        return sorted(lines for path, lines in self.lines.items() if path.name != "__init__.py")

    def names_in(self, folder: str) -> int:
        """Files and folders directly in a folder, without what Python makes itself."""
        return sum(
            1
            for entry in (self.root / folder).iterdir()
            if entry.name not in ("__init__.py", "__pycache__")
        )

    def classes_used_twice(self) -> list[str]:
        counted = Counter(
            node.name
            for tree in self.trees.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        )
        return sorted(name for name, count in counted.items() if count > 1)

    def arrows(self) -> set[tuple[str, str]]:
        """(from, to) of every import between two different rooms.

        A room is a folder without folders in it; a module beside folders is a room of its own, for
        what stands there is what they share (`worker/errors`) or what puts them together
        (`worker/main`).
        """
        return {
            (room, target)
            for path, tree in self.trees.items()
            for target in self._targets(tree)
            if target != (room := self._room(path))
        }

    def _room(self, path: Path) -> str:
        if path.name == "__init__.py":
            return path.parent.as_posix()
        return (path.with_suffix("") if path.parent in self._outer else path.parent).as_posix()

    @cached_property
    def _outer(self) -> set[Path]:
        """Folders that hold folders."""
        return {parent for path in self.trees for parent in path.parent.parents}

    def arrows_back(self) -> list[tuple[str, str]]:
        """Those that run from the engine to what is built on it."""
        return sorted(
            (start, end)
            for start, end in self.arrows()
            if start.startswith("worker") and end.startswith("service")
        )

    def circles(self) -> list[list[str]]:
        """Groups of folders that import each other, directly or by way of others."""
        arrows = self.arrows()
        folders = sorted({folder for arrow in arrows for folder in arrow})
        reached = {folder: self._reach(folder, arrows) for folder in folders}
        groups = {
            tuple(
                other for other in folders if other in reached[folder] and folder in reached[other]
            )
            for folder in folders
            if folder in reached[folder]
        }
        return sorted(list(group) for group in groups)

    def _targets(self, tree: ast.Module) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGES):
                for name in node.names:
                    yield self._resolve(f"{node.module}.{name.name}".split("."))

    def _resolve(self, parts: list[str]) -> str:
        """The room of the module that a dotted name lies in."""
        while parts:
            path = Path(*parts)
            if path.with_suffix(".py") in self.trees:
                return self._room(path.with_suffix(".py"))
            if path / "__init__.py" in self.trees:
                return path.as_posix()
            parts = parts[:-1]
        raise LookupError("no module of ours")

    @staticmethod
    def _reach(start: str, arrows: set[tuple[str, str]]) -> set[str]:
        reached: set[str] = set()
        waiting = [start]
        while waiting:
            room = waiting.pop()
            for origin, target in arrows:
                if origin == room and target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return reached


def rows(layout: Layout) -> list[tuple[str, str]]:
    """What is measured, and its figure."""
    sizes = layout.sized()
    readme = (layout.root / "README.md").read_text("utf-8").count("\n")
    return [
        ("Python files / lines", f"{len(layout.lines)} / {sum(layout.lines.values()):,}"),
        *(
            (f"names in `{package}/` itself", str(layout.names_in(package)))
            for package in reversed(PACKAGES)
        ),
        ("names in `service/sources/` itself", str(layout.names_in("service/sources"))),
        (
            "arrows that run back up, circles of folders",
            f"{len(layout.arrows_back())}, {len(layout.circles())}",
        ),
        ("lines of a file: median / largest", f"{statistics.median(sizes):g} / {sizes[-1]}"),
        ("class names used twice", str(len(layout.classes_used_twice()))),
        ("README", f"{readme} lines"),
    ]


def table(layout: Layout) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {name} | {figure} |" for name, figure in rows(layout)]
    return "\n".join(["| | |", "|---|---|", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--root", type=Path, default=Path.cwd())
    layout = Layout(parser.parse_args().root)
    print(table(layout))
    for group in layout.circles():
        print("circle:", " <-> ".join(group))
    for name in layout.classes_used_twice():
        print("used twice:", name)


if __name__ == "__main__":
    main()
