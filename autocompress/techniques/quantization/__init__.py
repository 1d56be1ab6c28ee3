"""Fewer bits for weights and tables, one decision a file."""
