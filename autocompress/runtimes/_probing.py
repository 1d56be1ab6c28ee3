"""Find the values of each technique that a runtime has kernels for: each technique tries its own."""

from __future__ import annotations

from functools import cache

from autocompress.core.scalar import Scalar
from autocompress.core.technique import ordered_techniques
from autocompress.formats.target_format import TargetFormat
from autocompress.techniques.probing import RunModel, RuntimeProbe
from autocompress.techniques.stages import RuntimeDependent

__all__ = ["RunModel", "probe_runtime"]


@cache
def probe_runtime(run: RunModel | None, target_format: TargetFormat) -> dict[str, tuple[Scalar, ...]]:
    """Return the values of each decision that work in a format, where they are limited; the result for each `run` is cached.

    `run` runs an ONNX graph on the device; null where the format is a PyTorch program.
    """
    probe = RuntimeProbe(target_format, run)
    dependent = {name: entry for name, entry in ordered_techniques().items() if isinstance(entry, RuntimeDependent)}
    supported = {name: entry.supported(probe) for name, entry in dependent.items()}
    return {name: values for name, values in supported.items() if values is not None}
