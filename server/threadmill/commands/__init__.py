"""The commands that work on a data directory, or on a server that has it."""
