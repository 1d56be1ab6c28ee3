"""Stop candidates that are too slow or too large before training: both depend on shapes and bits, hardly on weights."""

from __future__ import annotations

from autocompress.core.errors import TrialStopped
from autocompress.core.measurement import Latency
from autocompress.models.candidate import Candidate
from autocompress.search.jobs import AdmissionLimits
from autocompress.selection.latency_model import Shape


def check_predicted_latency(candidate: Candidate, limits: AdmissionLimits) -> None:
    """Raise TrialStopped for a candidate that is too slow even at the lower end of its predicted latency."""
    if limits.max_latency_ms is None or limits.latency_model is None:
        return
    model = limits.latency_model
    predicted = model.predict(Shape.of(candidate.recipe, candidate.heads, candidate.neurons))
    if predicted is not None and predicted * (1 - model.error) > limits.max_latency_ms:
        raise TrialStopped(
            f"predicted latency {predicted:.2f} ms (± {100 * model.error:.0f} %) is over max_latency_ms"
            f" {limits.max_latency_ms:g}; not built"
        )


def check_size(size_mb: float, limits: AdmissionLimits) -> None:
    """Raise TrialStopped for an untrained artifact that is too large."""
    if limits.max_size_mb is not None and size_mb > limits.max_size_mb:
        raise TrialStopped(f"size {size_mb:.1f} MB is over max_size_mb {limits.max_size_mb:g}; not trained")


def check_latency(latency: Latency, size_mb: float, limits: AdmissionLimits) -> None:
    """Raise TrialStopped for an untrained artifact that is too slow, or dominated by a complete trial without a drop."""
    if limits.max_latency_ms is not None and limits.teacher_latency_ms is not None:
        milliseconds = limits.teacher_latency_ms / latency.speedup_interval.high
        if milliseconds > limits.max_latency_ms:
            raise TrialStopped(
                f"latency {milliseconds:.2f} ms is over max_latency_ms {limits.max_latency_ms:g}; not trained"
            )
    for speedup, other_size in limits.unbeaten:
        if speedup > latency.speedup_interval.high and other_size <= size_mb:
            raise TrialStopped(
                f"{latency.speedup:.1f}× and {size_mb:.1f} MB cannot enter the front: another trial has"
                f" {speedup:.1f}× and {other_size:.1f} MB without losing quality; not trained"
            )
