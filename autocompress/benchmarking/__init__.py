"""Measure an artifact: outputs over a whole split, latency beside the reference, size, memory. The torch module is never
measured."""

from autocompress.benchmarking.drift import Drift, with_drift
from autocompress.benchmarking.environment import collect_conditions, cpu_flags, cpu_name, machine, versions
from autocompress.benchmarking.fresh_process import download_mb, measure_fresh_process, size_mb
from autocompress.benchmarking.inputs import Feeds, latency_feeds, outputs_of
from autocompress.benchmarking.latency import QUICK_TIMING, THOROUGH_TIMING, TimingBudget, measure_latency
from autocompress.benchmarking.noise import AdaptivePatience, pin_to_cores
from autocompress.benchmarking.text_latency import MOST_TEXTS, measure_text_ms

__all__ = [
    "MOST_TEXTS",
    "QUICK_TIMING",
    "THOROUGH_TIMING",
    "AdaptivePatience",
    "Drift",
    "Feeds",
    "TimingBudget",
    "collect_conditions",
    "cpu_flags",
    "cpu_name",
    "download_mb",
    "latency_feeds",
    "machine",
    "measure_fresh_process",
    "measure_latency",
    "measure_text_ms",
    "outputs_of",
    "pin_to_cores",
    "size_mb",
    "versions",
    "with_drift",
]
