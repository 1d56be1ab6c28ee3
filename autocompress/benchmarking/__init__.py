"""Measure an artifact: its logits over a whole split, latency against the reference, size, memory. Never the torch module."""

from autocompress.benchmarking.drift import Drift, with_drift
from autocompress.benchmarking.environment import conditions, cpu_flags, cpu_name, machine, versions
from autocompress.benchmarking.fresh_process import fresh_process, size_mb
from autocompress.benchmarking.inputs import Feeds, latency_feeds, logits_of
from autocompress.benchmarking.latency import QUICK_TIMING, THOROUGH_TIMING, TimingBudget, measure_latency
from autocompress.benchmarking.noise import Patience, pinned

__all__ = [
    "QUICK_TIMING",
    "THOROUGH_TIMING",
    "Drift",
    "Feeds",
    "Patience",
    "TimingBudget",
    "conditions",
    "cpu_flags",
    "cpu_name",
    "fresh_process",
    "latency_feeds",
    "logits_of",
    "machine",
    "measure_latency",
    "pinned",
    "size_mb",
    "versions",
    "with_drift",
]
