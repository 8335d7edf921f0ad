"""From payload fields to the canonical lead."""
