"""Where artifacts run while they are measured: on this machine, or on another whose agent listens. Imports no torch.

Quality, latency and memory are properties of a file on a device; whatever is measured for a study goes through its target.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import numpy as np

from autocompress import benchmarking
from autocompress.benchmarking import Feeds
from autocompress.config import Device
from autocompress.core import registry
from autocompress.core.errors import UsageError
from autocompress.core.measurement import Timing
from autocompress.core.recipe import Scalar
from autocompress.runtimes import data_only
from autocompress.storage import device_lock
from autocompress.storage.artifact_store import Store

if TYPE_CHECKING:
    from autocompress.benchmarking.agent.client import RemoteDevice

SHORT_PATIENCE = 0.2  # of a device's patience: for one trial, since others can go on meanwhile
Progress = Callable[[float], None]
Notify = Callable[[str], None]


class Backend(Protocol):
    """What a study measures on."""

    device: Device
    patience: float  # seconds without an answer, after which a device is lost; the machine itself never is

    def supported(self) -> Mapping[str, Sequence[Scalar]]:
        """The values of each decision that really run there."""

    def cpu(self) -> str:
        """The processor's name."""

    def runtime_version(self) -> str:
        """The version of the runtime there: another one may round otherwise."""

    def time(
        self, artifact: Path, reference: Path | None, feeds: Feeds, effort: benchmarking.TimingBudget, fresh: bool
    ) -> Timing:
        """Latency in blocks that alternate with the reference's; folders of two artifacts. `fresh`: and what a fresh
        process takes."""

    def run(self, artifact: Path, feeds: Feeds, progress: Progress) -> np.ndarray:
        """Logits (rows, labels) of all feeds, one after another."""


def open_backend(
    device: Device, place: str, root: Path | None = None, seed: int = 0, notify: Notify = lambda words: None
) -> Backend:
    """The target that a study file names. `root`: of the lease that keeps others from computing meanwhile.

    UsageError where the runtime is not installed here, or no agent takes its models.
    What is wrong with a device comes up when it is asked.
    """
    if device.url is None:
        return LocalBackend(device, place, root, seed)
    if device.runtime not in data_only():
        raise UsageError(
            f"{place}: the runtime {device.runtime} runs on this machine only, since its models are native code, which no"
            f" agent takes; available: {', '.join(data_only())}"
        )
    return RemoteBackend(device, place, root, seed, notify)


def drift_on(store: Store, reference: str, target: Backend) -> benchmarking.Drift:
    """What the artifact `reference` took on a target so far, as far as models of this store were measured beside it."""
    device = target.device
    shape = {"threads": device.threads, "batch": device.batch, "tokens": device.tokens}
    where = {"runtime": device.runtime, "url": device.url, "cpu": target.cpu()}
    return benchmarking.Drift(store.series("drift", {"reference": reference, **shape, **where}))


class LocalBackend:
    """This machine."""

    def __init__(self, device: Device, place: str, root: Path | None, seed: int) -> None:
        self.device, self.root, self.seed, self.patience = device, root, seed, device.patience
        self.runtime: ModuleType = registry.load("runtimes", device.runtime, f"{place}.runtime")
        if self.runtime.available() is None:
            raise UsageError(f"{place}: {device.runtime} is not installed; pip install it")
        self._beside: tuple[Path | None, Any] = (None, None)
        self._patience = benchmarking.Patience()

    def supported(self) -> Mapping[str, Sequence[Scalar]]:
        found: Mapping[str, Sequence[Scalar]] = self.runtime.supported()
        return found

    def cpu(self) -> str:
        return benchmarking.cpu_name()

    def runtime_version(self) -> str:
        return str(self.runtime.available())

    def time(
        self, artifact: Path, reference: Path | None, feeds: Feeds, effort: benchmarking.TimingBudget, fresh: bool
    ) -> Timing:
        device = self.device
        with _alone(self.root) as waited, benchmarking.pinned(device.threads) as cores:
            beside = self._opener(artifact if reference is None else reference, kept=not effort.reopen)
            latency = benchmarking.measure_latency(self._opener(artifact), beside, feeds, effort, self._patience)
        memory_mb, start_ms = self._fresh(artifact, feeds) if fresh else (None, None)
        conditions = benchmarking.conditions(
            device.runtime, device.threads, device.batch, device.tokens, self.seed, latency.noise
        )
        conditions["pinned_to_cores"] = cores
        if fresh:
            operators = self.runtime.audit(artifact, feeds[0], device.threads)
            conditions["operators"] = [asdict(operator) for operator in operators]
        if waited is not None:
            conditions["device_lease"] = f"held alone, other workers paused; waited {waited:.1f} s for them"
        return Timing(latency=latency, memory_mb=memory_mb, start_ms=start_ms, conditions=conditions)

    def run(self, artifact: Path, feeds: Feeds, progress: Progress) -> np.ndarray:
        session, found = self._open(artifact), []
        for number, feed in enumerate(feeds):
            found.append(session.run(feed))
            if number % 50 == 0:
                progress(number / len(feeds))
        return np.concatenate(found)

    def _fresh(self, artifact: Path, feeds: Feeds) -> tuple[float | None, float | None]:
        return benchmarking.fresh_process(self.runtime, artifact, feeds[0], self.device.threads)

    def _open(self, artifact: Path) -> Any:
        return self.runtime.open_session(artifact, self.device.threads)

    def _opener(self, artifact: Path, kept: bool = False) -> Callable[[], Any]:
        """What opens it; `kept`: once for many looks, as long as it is the same."""

        def beside() -> Any:
            if self._beside[0] != artifact:
                self._beside = artifact, self._open(artifact)
            return self._beside[1]

        return beside if kept else lambda: self._open(artifact)


class RemoteBackend:
    """A device with an agent. What it runs comes through the agent's doors, one run at a time."""

    def __init__(self, device: Device, place: str, root: Path | None, seed: int, notify: Notify) -> None:
        self.device, self.place, self.seed, self.notify, self.patience = device, place, seed, notify, device.patience
        assert device.url is not None  # else it is here
        host = urlsplit(device.url).hostname or ""
        here = host in ("localhost", "::1") or host.startswith("127.")
        self.root = root if here else None  # on another machine nobody computes but the agent

    def _agent(self) -> RemoteDevice:
        """A line to it, to be closed by `with`."""
        name = self.device.token_env
        if not (token := os.environ.get(name)):
            raise UsageError(f"{self.place}: {name} is not set; it must hold the token that the agent was started with")
        try:
            from autocompress.benchmarking.agent.client import RemoteDevice
        except ImportError as error:
            raise UsageError(
                f"{self.place}: {error.name} is not installed; pip install 'autocompress[agent]'"
            ) from None
        assert self.device.url is not None
        return RemoteDevice(self.device.url, token, patience=self.patience, ca=self.device.ca, notify=self.notify)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What it says of itself; UsageError where it lacks the runtime."""
        runtime = self.device.runtime
        with self._agent() as agent:
            found = agent.fingerprint()
        if runtime not in found["runtimes"]:
            has = ", ".join(found["runtimes"]) or "none"
            raise UsageError(f"{self.place}: {runtime} is not installed on the device, which has: {has}")
        return found

    def supported(self) -> Mapping[str, Sequence[Scalar]]:
        self.fingerprint  # noqa: B018  # whether it has the runtime at all
        runtime = registry.load("runtimes", self.device.runtime)
        found: Mapping[str, Sequence[Scalar]] = runtime.supported(self._probe)
        return found

    def _probe(self, model: bytes, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        with self._agent() as agent:
            return agent.logits(model, [feed], 1, runtime=self.device.runtime)

    def cpu(self) -> str:
        return str(self.fingerprint["cpu"])

    def runtime_version(self) -> str:
        return str(self.fingerprint["runtimes"][self.device.runtime])

    def time(
        self, artifact: Path, reference: Path | None, feeds: Feeds, effort: benchmarking.TimingBudget, fresh: bool
    ) -> Timing:
        beside = None if reference is None else reference / "model.onnx"
        with _alone(self.root), self._agent() as agent:
            timed = agent.latency(
                artifact / "model.onnx", beside, feeds, self.device.threads, effort, fresh, self.device.runtime
            )
        told = {
            "tokens": self.device.tokens,
            "seed": self.seed,
            "device_lease": "one run at a time on the device",
            "outputs_recorded_on": benchmarking.machine(self.device.runtime),  # those of check.npz
        }
        return replace(timed, conditions=timed.conditions | told)

    def run(self, artifact: Path, feeds: Feeds, progress: Progress) -> np.ndarray:
        with self._agent() as agent:
            return agent.logits(artifact / "model.onnx", feeds, self.device.threads, progress, self.device.runtime)


def _alone(root: Path | None) -> AbstractContextManager[float | None]:
    """Nobody else computes meanwhile; gives the seconds that it took, or null where there is nobody."""
    return nullcontext() if root is None else device_lock.hold_exclusively(root)
