"""What is to be written to Pipedrive for a lead; pure functions, no network and no store."""
