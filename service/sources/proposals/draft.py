"""A proposal in the making."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, convert, field

from service.sources.config import Read, Source, Verify
from service.sources.proposals.captured import Captured
from service.sources.proposals.doors import Door
from service.sources.proposals.questions import Guess, Question
from service.sources.proposals.shape import Shape
from service.sources.proposals.tells import Tell


class Draft(Struct, kw_only=True):
    """A proposal in the making: the tables of the source with the reasons for their keys."""

    captured: Captured
    name: str
    tell: Tell | None
    adapter: str
    shape: Shape
    door: Door
    map: list[Guess] = field(default_factory=list)
    only: dict[str, Any] | None = None
    unmapped: list[Question] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """Of the names of environment variables."""
        return "".join(sign if sign.isalnum() and sign.isascii() else "_" for sign in self.name).upper()

    @property
    def read(self) -> dict[str, Any]:
        """The keys of `[sources.X.read]`."""
        return self.shape.read | ({"only": self.only} if self.only else {})

    @property
    def source(self) -> Source:
        """The source as it stands now; what it reads is not checked."""
        mapped = {guess.path: guess.field for guess in self.map}
        verify = in_body(self.door)
        return Source(name=self.name, adapter=self.adapter, read=convert(self.read, Read), map=mapped, verify=verify)


def in_body(shown: Door) -> Verify | None:
    """The scheme of a secret in the body, which is no part of what is read."""
    return convert(shown.rules, Verify) if shown.rules and "field" in shown.rules else None
