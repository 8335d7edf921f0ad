"""From bytes to fields."""
