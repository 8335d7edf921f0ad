"""What form products really send: one JSON file for each case, a folder for each product."""
