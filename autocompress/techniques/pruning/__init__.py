"""Fewer layers, heads and neurons, one decision a file."""
