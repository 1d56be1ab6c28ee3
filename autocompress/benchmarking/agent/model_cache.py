"""The models that a device holds, by the sha256 of their bytes and within a quota. Models arrive in pieces, so that a lost
connection costs one piece."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autocompress.benchmarking.agent.errors import (
    ModelEvicted,
    OffsetMismatch,
    QuotaExceeded,
    RequestRejected,
    UploadInProgress,
)
from autocompress.benchmarking.agent.onnx_validation import check_model

SHA256 = re.compile(r"[0-9a-f]{64}")


class ModelCache:
    """`models/SHA/model.onnx` for complete models, `parts/SHA` for incomplete ones."""

    def __init__(self, root: Path, max_bytes: int, max_model_bytes: int) -> None:
        self.root, self.max_bytes, self.max_model_bytes = root, max_bytes, max_model_bytes
        self._lock = threading.Lock()
        self._uploading: set[str] = set()
        self._users: dict[str, int] = {}  # model -> how many runs use it
        for folder in (root / "models", root / "parts"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def folder(self, sha256: str) -> Path:
        """Return the folder of a complete model, whether or not it exists; RequestRejected for an invalid name."""
        if not SHA256.fullmatch(sha256):
            raise RequestRejected("the name of a model must have 64 hexadecimal digits")
        return self.root / "models" / sha256

    def has_model(self, sha256: str) -> bool:
        """Whether the complete model is in the cache."""
        return self.folder(sha256).is_dir()

    def count_bytes(self, sha256: str) -> int:
        """Return how many bytes of a model have arrived."""
        if self.has_model(sha256):
            return (self.folder(sha256) / "model.onnx").stat().st_size
        part = self._part(sha256)
        return part.stat().st_size if part.exists() else 0

    @contextmanager
    def reserve_upload(self, sha256: str) -> Iterator[None]:
        """Allow one upload of a model at a time; UploadInProgress for a second one."""
        with self._lock:
            if sha256 in self._uploading:
                raise UploadInProgress("another upload of this model is in progress")
            self._uploading.add(sha256)
        try:
            yield
        finally:
            with self._lock:
                self._uploading.discard(sha256)

    def append(self, sha256: str, offset: int, length: int, piece: bytes) -> int:
        """Add a piece to a model of `length` bytes; return the offset of the next piece. Call it within `reserve_upload`."""
        if not 0 < length <= self.max_model_bytes:
            raise RequestRejected(f"the model has {length:,} bytes; at most {self.max_model_bytes:,} are allowed")
        present = self.count_bytes(sha256)
        if self.has_model(sha256):
            return present
        if offset != present:
            raise OffsetMismatch(present)
        if present + len(piece) > length:
            raise RequestRejected(
                f"upload-length announces {length:,} bytes, but {present + len(piece):,} arrived; send the whole length"
            )
        self._make_room(length - present)
        part = self._part(sha256)
        try:
            with part.open("ab") as file:
                file.write(piece)
        except OSError as error:
            with suppress(OSError):
                os.truncate(part, present)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise QuotaExceeded("the device's disk is full") from None
            raise
        return present + len(piece)

    def complete(self, sha256: str) -> None:
        """Check a model whose bytes have all arrived, and keep it. Call it within `reserve_upload`."""
        if self.has_model(sha256):
            return
        part = self._part(sha256)
        try:
            _check_hash(part, sha256)
            check_model(part)
        except RequestRejected:
            part.unlink(missing_ok=True)
            raise
        folder = self.folder(sha256)
        new_folder = self.root / "parts" / f"{sha256}.new"
        shutil.rmtree(new_folder, ignore_errors=True)
        new_folder.mkdir(mode=0o700)
        part.rename(new_folder / "model.onnx")
        new_folder.rename(folder)

    @contextmanager
    def use(self, *models: str) -> Iterator[list[Path]]:
        """Yield the folders of models, and keep them from being evicted meanwhile; ModelEvicted where one is gone."""
        with self._lock:
            for sha256 in models:
                if not self.has_model(sha256):
                    raise ModelEvicted(sha256)
            for sha256 in models:
                self._users[sha256] = self._users.get(sha256, 0) + 1
                os.utime(self.folder(sha256))
        try:
            yield [self.folder(sha256) for sha256 in models]
        finally:
            with self._lock:
                for sha256 in models:
                    self._users[sha256] -= 1

    def _part(self, sha256: str) -> Path:
        return self.root / "parts" / self.folder(sha256).name

    def _make_room(self, length: int) -> None:
        """Evict the least recently used models until `length` bytes fit into the quota."""
        with self._lock:
            entries = [entry for kind in ("models", "parts") for entry in (self.root / kind).iterdir()]
            entries.sort(key=lambda entry: entry.stat().st_mtime)
            total = sum(_count_entry_bytes(entry) for entry in entries)
            for entry in entries:
                if total + length <= self.max_bytes:
                    return
                name = entry.name.removesuffix(".new")
                if self._users.get(name, 0) or name in self._uploading:
                    continue
                total -= _count_entry_bytes(entry)
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if total + length > self.max_bytes:
                raise QuotaExceeded(
                    f"the model needs {length:,} more bytes; the device keeps at most {self.max_bytes:,} bytes of models, "
                    f"and {total:,} are in use"
                )


def _check_hash(part: Path, sha256: str) -> None:
    with part.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise RequestRejected("the received bytes do not have the model's sha256; send the model again")


def _count_entry_bytes(entry: Path) -> int:
    files = entry.rglob("*") if entry.is_dir() else [entry]
    return sum(file.stat().st_size for file in files)
