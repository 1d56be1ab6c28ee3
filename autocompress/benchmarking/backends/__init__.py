"""Backends run artifacts to measure them: on this machine, or on a device with an agent. Imports no torch.

Quality, latency and memory are properties of a file on a device; every measurement of a study goes through a backend.
"""

from autocompress.benchmarking.backends.factory import open_backend
from autocompress.benchmarking.backends.protocol import SHORT_PATIENCE, Backend, Notify, Progress, drift_on

__all__ = ["SHORT_PATIENCE", "Backend", "Notify", "Progress", "drift_on", "open_backend"]
