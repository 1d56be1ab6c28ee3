"""Decisions about how texts are written before they are cut into tokens."""
