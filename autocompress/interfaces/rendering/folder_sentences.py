"""Describe an exported folder in sentences: its verification and its measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.core.formatting import megabytes, ms, times
from autocompress.core.measurement import describe_operators
from autocompress.interfaces.rendering.trial_sentences import startup_sentences

if TYPE_CHECKING:
    from autocompress.actions.measure_folder import FolderMeasurement
    from autocompress.actions.verify import Verification


def verification_sentence(verification: Verification) -> str:
    """Say whether a folder passed, and what was compared."""
    if verification.problems:
        return f"{verification.folder} failed: {'; '.join(verification.problems)}"
    hashes = f"{verification.folder} passed: {verification.files} files are unchanged"
    if verification.largest_difference is None:
        return hashes
    recorded = "on this machine" if verification.same_machine else "with another machine or runtime version"
    return (
        f"{hashes}; {verification.inputs} inputs that were recorded {recorded} get the same predictions, and their outputs "
        f"differ by at most {verification.largest_difference:.2g}"
    )


def measurement_sentences(measured: FolderMeasurement) -> list[str]:
    """Describe latency, size and memory of a folder, and the conditions of the measurement."""
    conditions = measured.conditions
    smaller = f"; {times(measured.compression)} smaller" if measured.compression else ""
    memory = "" if measured.memory_mb is None else f"; peak memory {measured.memory_mb:.0f} MB"
    noise = f"; {conditions['noise']}" if conditions.get("noise") else ""
    return [
        f"latency {ms(measured.latency_ms)} ms (median), {ms(measured.latency_p95_ms)} ms (95th percentile)"
        f"{_speedup(measured)}",
        f"size {megabytes(measured.size_mb)} MB{smaller}{memory}",
        *startup_sentences(measured),
        *([describe_operators(conditions["operators"])] if conditions.get("operators") else []),
        f"{conditions['runtime']} {conditions['runtime_version']}, {conditions['threads']} thread(s), batch "
        f"{conditions['batch']}, {conditions['tokens']} tokens, {conditions['cpu']}{noise}",
    ]


def _speedup(measured: FolderMeasurement) -> str:
    """Compare the latency with the reference's; empty without one."""
    interval, reference_ms = measured.speedup_interval, measured.reference_latency_ms
    if measured.speedup is None or interval is None or reference_ms is None:
        return ""
    return (
        f"; {times(measured.speedup)} ({interval[0]:.1f}…{interval[1]:.1f}) as fast as "
        f"{measured.conditions['blocks_alternate_with']}, {ms(reference_ms)} ms"
    )
