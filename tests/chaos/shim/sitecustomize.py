"""Found by Python at its start where a test put this folder on PYTHONPATH: runs the process without some protections, or as one
of another release, which writes and reads records of another version."""

from __future__ import annotations

import os

if version := os.environ.get("CHAOS_VERSION"):
    from worker import contract

    contract.VERSION = int(version)

if names := os.environ.get("CHAOS_WITHOUT"):
    from contextlib import ExitStack

    from tests.chaos.protections import without

    _for_life = ExitStack()
    _for_life.enter_context(without(*names.split(",")))
