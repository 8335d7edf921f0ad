"""Run by Python at its start where a test has put this folder on PYTHONPATH.

The process then runs without some protections, as one of another release (with records of another
version), or with room for few log lines.
"""

from __future__ import annotations

import os

if version := os.environ.get("CHAOS_VERSION"):
    from worker import contract

    contract.VERSION = int(version)

if lines := os.environ.get("CHAOS_LOG_LINES"):
    from worker import logs

    logs.LineWriter.__init__.__defaults__ = (int(lines),)

if names := os.environ.get("CHAOS_WITHOUT"):
    from contextlib import ExitStack

    from tests.chaos.protections import disable_protections

    _for_life = ExitStack()
    _for_life.enter_context(disable_protections(*names.split(",")))
