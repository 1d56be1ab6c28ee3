"""Artifacts and cached stage results on disk, and the lock that keeps other processes idle during a measurement."""
