"""Executors run the jobs of a search: one file per kind."""
