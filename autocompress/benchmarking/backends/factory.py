"""Open the backend of a device."""

from __future__ import annotations

from pathlib import Path

from autocompress.benchmarking.backends.local import LocalBackend
from autocompress.benchmarking.backends.protocol import Backend, Notify
from autocompress.benchmarking.backends.remote import RemoteBackend
from autocompress.config import Device
from autocompress.core.errors import UsageError
from autocompress.runtimes import portable_runtimes


def open_backend(
    device: Device, location: str, root: Path | None = None, seed: int = 0, notify: Notify = lambda sentence: None
) -> Backend:
    """Open the backend of a device that stands at `location` of a study file. `root`: folder of the device lock.

    UsageError where the runtime is not installed here, or where no agent takes its models. Nothing is sent to the device
    before its first use.
    """
    if device.url is None:
        return LocalBackend(device, location, root, seed)
    if device.runtime not in portable_runtimes():
        raise UsageError(
            f"{location}: the runtime {device.runtime} runs on this machine only, since its models are native code, which"
            f" no agent takes; available: {', '.join(portable_runtimes())}"
        )
    return RemoteBackend(device, location, root, seed, notify)
