"""From bytes to a payload tree, and from the tree to events with their fields."""
