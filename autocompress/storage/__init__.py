"""Artifacts and cached results on disk, and the lock that keeps others from computing while something is measured."""
