"""The command `leadline`: one small file for each family of commands."""
