"""Decisions about the number of layers, heads and neurons, one per file."""
