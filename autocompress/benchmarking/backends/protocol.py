"""The protocol of a backend: the methods that a study calls on the device that it measures on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from autocompress.benchmarking.drift import Drift
from autocompress.benchmarking.inputs import Feeds
from autocompress.benchmarking.latency import TimingBudget
from autocompress.benchmarking.text_latency import Text
from autocompress.config import Device
from autocompress.core.measurement import Timing
from autocompress.core.recipe import Scalar
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store

SHORT_PATIENCE = 0.2  # share of a device's patience for one trial, since other trials can continue meanwhile
Progress = Callable[[float], None]
Notify = Callable[[str], None]


class Backend(Protocol):
    """A device that runs and times artifacts."""

    device: Device
    patience: float  # seconds without an answer after which the device counts as lost; this machine is never lost

    def supported(self) -> Mapping[str, Sequence[Scalar]]:
        """Return the values of each decision that run on the device."""

    def cpu(self) -> str:
        """Return the processor's name."""

    def runtime_version(self) -> str:
        """Return the version of the device's runtime: another version may round differently."""

    def time(self, artifact: Path, reference: Path | None, feeds: Feeds, budget: TimingBudget, fresh: bool) -> Timing:
        """Time an artifact in blocks that alternate with the reference's; both are folders. `fresh`: also measure a fresh
        process."""

    def time_texts(self, artifact: Path, texts: Sequence[Text]) -> float | None:
        """Return the median milliseconds from a text to its label; null on another machine, which never gets a user's texts."""

    def run(self, artifact: Path, feeds: Feeds, progress: Progress) -> np.ndarray:
        """Return the outputs (units, width) of all feeds, one after another; padding of tokens is left out."""


def drift_on(store: Store, reference: str, backend: Backend) -> Drift:
    """Return the latencies of the artifact `reference` on a backend, as measured beside the models of this store."""
    device = backend.device
    shape = {"threads": device.threads, "batch": device.batch, "tokens": device.tokens}
    where = {"runtime": device.runtime, "url": device.url, "cpu": backend.cpu()}
    return Drift(store.series("drift", {"reference": reference, **shape, **where}))


@contextmanager
def hold_cores(root: Path | None) -> Iterator[float | None]:
    """Keep other workers from computing; yield the seconds waited for them, null without a lock (`root` is null)."""
    if root is None:
        yield None
        return
    with device_lock.hold_exclusively(root) as waited:
        yield waited
