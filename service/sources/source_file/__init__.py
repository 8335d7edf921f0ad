"""The source file: read, validated, watched."""
