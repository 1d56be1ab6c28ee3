"""Backends run artifacts to measure them: on this machine, or on a device with an agent. Imports no torch.

Quality, latency and memory are properties of a file on a device; every measurement of a study goes through a backend.
"""

from autocompress.benchmarking.backends.factory import open_backend
from autocompress.benchmarking.backends.protocol import SHORT_PATIENCE, Backend, Notify, Progress
from autocompress.benchmarking.backends.reference_timing import ArtifactTiming, ReferenceTiming, TeacherTiming

__all__ = [
    "SHORT_PATIENCE",
    "ArtifactTiming",
    "Backend",
    "Notify",
    "Progress",
    "ReferenceTiming",
    "TeacherTiming",
    "open_backend",
]
