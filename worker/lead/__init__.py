"""From a lead to what is to be written to Pipedrive; pure."""
