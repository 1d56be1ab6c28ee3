"""Decisions about the texts that candidates learn from beside those of the study."""
