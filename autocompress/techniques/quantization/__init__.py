"""Decisions about the number of bits of weight matrices and embedding tables, one per file."""
