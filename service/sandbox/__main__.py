"""`python -m service.sandbox`: serve with the settings in `LEADLINE_SANDBOX`, until SIGTERM."""

from __future__ import annotations

from service.sandbox.serve import run, settings_from_environment

if __name__ == "__main__":
    run(settings_from_environment())
