"""Reports over everything that is stored: backtest and attribution."""
