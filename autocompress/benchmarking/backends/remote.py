"""A device with an agent as a backend."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from autocompress import benchmarking
from autocompress.benchmarking import Feeds, TimingBudget
from autocompress.benchmarking.backends.protocol import Notify, Progress, hold_cores
from autocompress.benchmarking.text_latency import Text
from autocompress.config import Device
from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json
from autocompress.core.measurement import Timing
from autocompress.core.recipe import Scalar
from autocompress.runtimes import RUNTIMES

if TYPE_CHECKING:
    from autocompress.benchmarking.agent.client import RemoteDevice

MODEL_FILE = "model.onnx"  # of an artifact; the agent takes nothing else


class RemoteBackend:
    """Runs and times artifacts through a device's agent, one run at a time; the methods are those of `Backend`."""

    def __init__(self, device: Device, location: str, root: Path | None, seed: int, notify: Notify) -> None:
        assert device.url is not None  # a device without one is this machine
        self.device, self.location, self.seed, self.notify = device, location, seed, notify
        self.patience = device.patience
        host = urlsplit(device.url).hostname or ""
        shares_cores = host in ("localhost", "::1") or host.startswith("127.")
        self.root = root if shares_cores else None  # on another machine only the agent computes

    @cached_property
    def fingerprint(self) -> Json:
        """The device's description of itself; UsageError where it lacks the runtime."""
        runtime = self.device.runtime
        with self._connect() as agent:
            fingerprint = agent.fingerprint()
        if runtime not in fingerprint["runtimes"]:
            installed = ", ".join(fingerprint["runtimes"]) or "none"
            raise UsageError(
                f"{self.location}: the runtime {runtime} is not installed on the device; available: {installed}"
            )
        return fingerprint

    def supported(self) -> Mapping[str, Sequence[Scalar]]:
        self.fingerprint  # noqa: B018  # raises where the device lacks the runtime
        return RUNTIMES.load(self.device.runtime).supported(self._run_probe)

    def cpu(self) -> str:
        return str(self.fingerprint["cpu"])

    def runtime_version(self) -> str:
        return str(self.fingerprint["runtimes"][self.device.runtime])

    def time(self, artifact: Path, reference: Path | None, feeds: Feeds, budget: TimingBudget, fresh: bool) -> Timing:
        reference_model = None if reference is None else reference / MODEL_FILE
        with hold_cores(self.root), self._connect() as agent:
            timing = agent.latency(
                artifact / MODEL_FILE, reference_model, feeds, self.device.threads, budget, fresh, self.device.runtime
            )
        host_conditions = {
            "tokens": self.device.tokens,
            "seed": self.seed,
            "device_lease": "one run at a time on the device",
            "outputs_recorded_on": benchmarking.machine(self.device.runtime),  # the outputs in check.npz
        }
        return replace(timing, conditions=timing.conditions | host_conditions)

    def time_texts(self, artifact: Path, texts: Sequence[Text]) -> float | None:
        return None  # a user's texts stay on this machine

    def run(self, artifact: Path, feeds: Feeds, progress: Progress) -> np.ndarray:
        with self._connect() as agent:
            return agent.logits(artifact / MODEL_FILE, feeds, self.device.threads, progress, self.device.runtime)

    def _connect(self) -> RemoteDevice:
        """Return a client of the agent; close it by `with`."""
        variable = self.device.token_env
        if not (token := os.environ.get(variable)):
            raise UsageError(
                f"{self.location}: {variable} is not set; set it to the token that the agent was started with"
            )
        try:
            from autocompress.benchmarking.agent.client import RemoteDevice
        except ImportError as error:
            raise UsageError(
                f"{self.location}: {error.name} is not installed; pip install 'autocompress[agent]'"
            ) from None
        assert self.device.url is not None
        return RemoteDevice(self.device.url, token, patience=self.patience, ca=self.device.ca, notify=self.notify)

    def _run_probe(self, model: bytes, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        with self._connect() as agent:
            return agent.logits(model, [feed], 1, runtime=self.device.runtime)
