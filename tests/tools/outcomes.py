"""Sells leads in the sandbox, and says what `leadline attribution --outcomes` makes of it.

    python -m tests.tools.outcomes --leads 1000

delivers the leads of five campaigns, converts three tenths of them, wins a tenth, and prints the
command's table, the tokens that the sandbox charged for it, and how long it took.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import structlog
from click.testing import CliRunner

from service.cli.main import main as leadline
from service.local.redis import EmbeddedRedis
from service.sandbox.serve import serve_in_thread
from service.sandbox.settings import SandboxSettings
from tests.flow.conftest import TOKEN, Account, Pipeline
from tests.flow.test_outcomes import Sales, sell
from worker.store.connection import connect, connect_async

CAMPAIGNS = ("spring", "summer", "autumn", "winter", "brand")


def main() -> int:
    """Prints the figures; fails if the command fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--leads", type=int, default=1000)
    leads = parser.parse_args().leads
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder)) as server,
        serve_in_thread(SandboxSettings(port=0)) as sandbox,
        connect(server.url, timeout=5.0) as redis,
    ):
        account = Account(sandbox)
        sales = Sales(Pipeline(redis, lambda: connect_async(server.url, timeout=5.0), account))
        for campaign in CAMPAIGNS:
            sell(sales, campaign, leads // len(CAMPAIGNS))
        config = Path(folder) / "leadline.toml"
        config.write_text('[sources.contact.lead]\nchannel = "Web forms"\n', "utf-8")
        env = {
            "LEADLINE_CONFIG": str(config),
            "LEADLINE_DATA_DIR": folder,
            "REDIS_URL": server.url,
            "PIPEDRIVE_API_TOKEN": TOKEN,
            "PIPEDRIVE_BASE_URL": sandbox,
            "PIPEDRIVE_PLAN": "lite",
        }
        tokens, started_at = account.tokens(), time.monotonic()
        result = CliRunner().invoke(leadline, ["attribution", "--outcomes"], env=os.environ | env)
        seconds = time.monotonic() - started_at
        print(result.output)
        print(f"charged: {account.tokens() - tokens} tokens; {seconds:.1f} s")
        return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
