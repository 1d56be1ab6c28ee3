"""The errors with which the agent refuses a request or ends a run."""

from __future__ import annotations

from autocompress.core.errors import UsageError


class RequestRejected(UsageError):
    """The request, or the model in it, is not valid; the message says why."""


class UploadInProgress(Exception):
    """Another upload of the same model is in progress."""


class QuotaExceeded(Exception):
    """There is no room for a model: all models in the quota are in use, or the disk is full."""


class ModelEvicted(Exception):
    """The device no longer has a model."""


class OffsetMismatch(Exception):
    """The piece does not continue the upload; `offset` is where the next piece must begin."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"upload-offset: the next missing byte is number {offset}")
        self.offset = offset


class QueueFull(Exception):
    """The queue has no room for another run."""


class RunFailed(Exception):
    """A run failed; the message is meant for the host and names no path of the device."""
