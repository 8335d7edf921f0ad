"""`python -m service.sandbox`: serves with the settings of `LEADLINE_SANDBOX` until SIGINT or
SIGTERM.
"""

from __future__ import annotations

from service.sandbox.serve import run, settings_from_environment

if __name__ == "__main__":
    run(settings_from_environment())
