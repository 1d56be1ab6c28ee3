"""This machine as a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from autocompress import benchmarking
from autocompress.benchmarking import Feeds, TimingBudget
from autocompress.benchmarking.backends.protocol import Progress, hold_cores
from autocompress.benchmarking.inputs import unit_outputs
from autocompress.benchmarking.text_latency import Text
from autocompress.config import Device
from autocompress.core.errors import UsageError
from autocompress.core.measurement import Timing
from autocompress.core.recipe import Scalar
from autocompress.runtimes import RUNTIMES, Session

PROGRESS_BATCHES = 50


class LocalBackend:
    """Runs and times artifacts on this machine; the methods are those of `Backend`."""

    def __init__(self, device: Device, location: str, root: Path | None, seed: int) -> None:
        self.device, self.root, self.seed, self.patience = device, root, seed, device.patience
        self.runtime = RUNTIMES.load(device.runtime, f"{location}.runtime")
        if self.runtime.available() is None:
            raise UsageError(f"{location}: {device.runtime} is not installed; pip install it")
        self._cached_session: tuple[Path, Session] | None = None  # the last reference
        self._noise_patience = benchmarking.AdaptivePatience()

    def supported(self) -> Mapping[str, Sequence[Scalar]]:
        return self.runtime.supported()

    def cpu(self) -> str:
        return benchmarking.cpu_name()

    def runtime_version(self) -> str:
        return str(self.runtime.available())

    def time(self, artifact: Path, reference: Path | None, feeds: Feeds, budget: TimingBudget, fresh: bool) -> Timing:
        device = self.device
        with hold_cores(self.root) as waited, benchmarking.pin_to_cores(device.threads) as pinning:
            open_reference = self._opener(artifact if reference is None else reference, cached=not budget.reopen)
            latency = benchmarking.measure_latency(
                self._opener(artifact), open_reference, feeds, budget, self._noise_patience, pinning.move
            )
        memory_mb, start_ms = self._measure_fresh_process(artifact, feeds) if fresh else (None, None)
        conditions = benchmarking.collect_conditions(
            device.runtime, device.threads, device.batch, device.tokens, self.seed, latency.noise
        )
        conditions["pinned_to_cores"] = pinning.cores
        if fresh:
            operators = self.runtime.audit(artifact, feeds[0], device.threads)
            conditions["operators"] = [asdict(operator) for operator in operators]
        if waited is not None:
            conditions["device_lease"] = f"held alone, other workers paused; waited {waited:.1f} s for them"
        return Timing(latency=latency, memory_mb=memory_mb, start_ms=start_ms, conditions=conditions)

    def time_texts(self, artifact: Path, texts: Sequence[Text]) -> float | None:
        with hold_cores(self.root), benchmarking.pin_to_cores(self.device.threads):
            return benchmarking.measure_text_ms(self._open_session(artifact), artifact, texts)

    def run(self, artifact: Path, feeds: Feeds, progress: Progress) -> np.ndarray:
        session, outputs = self._open_session(artifact), []
        for number, feed in enumerate(feeds):
            outputs.append(unit_outputs(session.run(feed), feed))
            if number % PROGRESS_BATCHES == 0:
                progress(number / len(feeds))
        return np.concatenate(outputs)

    def _measure_fresh_process(self, artifact: Path, feeds: Feeds) -> tuple[float | None, float | None]:
        return benchmarking.measure_fresh_process(self.device.runtime, artifact, feeds[0], self.device.threads)

    def _open_session(self, artifact: Path) -> Session:
        return self.runtime.open_session(artifact, self.device.threads)

    def _opener(self, artifact: Path, cached: bool = False) -> Callable[[], Session]:
        """Return a function that opens an artifact; `cached`: it reuses the session while the artifact is the same."""

        def open_cached() -> Session:
            if self._cached_session is None or self._cached_session[0] != artifact:
                self._cached_session = artifact, self._open_session(artifact)
            return self._cached_session[1]

        return open_cached if cached else lambda: self._open_session(artifact)
