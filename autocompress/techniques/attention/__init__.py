"""Decisions about the attention that layers compute, one per file."""
