"""Found by Python at its start where a test put this folder on PYTHONPATH: runs the process without some protections."""

from __future__ import annotations

import os

if names := os.environ.get("CHAOS_WITHOUT"):
    from contextlib import ExitStack

    from tests.chaos.protections import without

    _for_life = ExitStack()
    _for_life.enter_context(without(*names.split(",")))
