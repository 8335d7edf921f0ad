"""What is stored, read as a whole: backtest and attribution."""
