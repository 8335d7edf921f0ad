"""From payload fields to the canonical lead: which field a value is for, and what the value is."""
