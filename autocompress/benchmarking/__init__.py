"""Measure an artifact: outputs over a whole split, latency beside the reference, size, memory. The torch module is never
measured."""

from autocompress.benchmarking.drift import Drift, with_drift
from autocompress.benchmarking.environment import collect_conditions, cpu_flags, cpu_name, machine, versions
from autocompress.benchmarking.fresh_process import measure_fresh_process, size_mb
from autocompress.benchmarking.inputs import Feeds, latency_feeds, outputs_of
from autocompress.benchmarking.latency import QUICK_TIMING, THOROUGH_TIMING, TimingBudget, measure_latency
from autocompress.benchmarking.noise import AdaptivePatience, pin_to_cores

__all__ = [
    "QUICK_TIMING",
    "THOROUGH_TIMING",
    "AdaptivePatience",
    "Drift",
    "Feeds",
    "TimingBudget",
    "collect_conditions",
    "cpu_flags",
    "cpu_name",
    "latency_feeds",
    "machine",
    "measure_fresh_process",
    "measure_latency",
    "outputs_of",
    "pin_to_cores",
    "size_mb",
    "versions",
    "with_drift",
]
