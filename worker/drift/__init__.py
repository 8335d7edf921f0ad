"""What the source file names and the Pipedrive account lacks."""
