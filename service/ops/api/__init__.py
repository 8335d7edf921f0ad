"""`/ops/api`: what the console shows and does, as JSON for programs."""
