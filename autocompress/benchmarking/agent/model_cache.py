"""The models that a device holds: by the sha256 of their bytes, within a quota, taken in pieces, so that a lost connection
costs one piece."""

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

from autocompress.benchmarking.agent.onnx_validation import RequestRejected, check_model

SHA256 = re.compile(r"[0-9a-f]{64}")


class UploadInProgress(Exception):
    """Another upload of the same model is under way."""


class QuotaExceeded(Exception):
    """There is no room: the quota is used by models in use, or the disk is full."""


class ModelEvicted(Exception):
    """A model is not there any more."""


class OffsetMismatch(Exception):
    """The piece does not go on where the last one ended; `offset` is where that was."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the next byte that is missing is number {offset}")
        self.offset = offset


class ModelCache:
    """`models/SHA/model.onnx` for whole ones, `parts/SHA` for those that are still coming."""

    def __init__(self, root: Path, most_bytes: int, most_model_bytes: int) -> None:
        self.root, self.most_bytes, self.most_model_bytes = root, most_bytes, most_model_bytes
        self._lock = threading.Lock()
        self._coming: set[str] = set()
        self._used: dict[str, int] = {}  # model -> how many runs use it
        for folder in (root / "models", root / "parts"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def folder(self, sha256: str) -> Path:
        """Where a model lies, whether or not it is there."""
        if not SHA256.fullmatch(sha256):
            raise RequestRejected("a model is named by 64 hexadecimal digits")
        return self.root / "models" / sha256

    def holds(self, sha256: str) -> bool:
        """Whether the whole model is there."""
        return self.folder(sha256).is_dir()

    def offset(self, sha256: str, length: int | None = None) -> int:
        """Bytes of a model that are there."""
        if self.holds(sha256):
            return (self.folder(sha256) / "model.onnx").stat().st_size
        part = self._part(sha256)
        return part.stat().st_size if part.exists() else 0

    @contextmanager
    def taking(self, sha256: str) -> Iterator[None]:
        """One upload of a model at a time."""
        with self._lock:
            if sha256 in self._coming:
                raise UploadInProgress("another upload of this model is under way")
            self._coming.add(sha256)
        try:
            yield
        finally:
            with self._lock:
                self._coming.discard(sha256)

    def append(self, sha256: str, offset: int, length: int, piece: bytes) -> int:
        """Take a piece of a model that is `length` bytes long; where the next one goes on. Only within `taking`."""
        if not 0 < length <= self.most_model_bytes:
            raise RequestRejected(f"a model may have at most {self.most_model_bytes} bytes, but this has {length}")
        there = self.offset(sha256)
        if self.holds(sha256):
            return there
        if offset != there:
            raise OffsetMismatch(there)
        if there + len(piece) > length:
            raise RequestRejected(f"the model is said to have {length} bytes, but more came")
        self._make_room(length - there)
        part = self._part(sha256)
        try:
            with part.open("ab") as file:
                file.write(piece)
        except OSError as error:
            with suppress(OSError):
                os.truncate(part, there)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise QuotaExceeded("the device's disk is full") from None
            raise
        return there + len(piece)

    def finish(self, sha256: str) -> None:
        """Check a model that has come to its end, and keep it. Only within `taking`."""
        if self.holds(sha256):
            return
        part = self._part(sha256)
        try:
            _check_hash(part, sha256)
            check_model(part)
        except RequestRejected:
            part.unlink(missing_ok=True)
            raise
        folder = self.folder(sha256)
        new = self.root / "parts" / f"{sha256}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        part.rename(new / "model.onnx")
        new.rename(folder)

    @contextmanager
    def using(self, *models: str) -> Iterator[list[Path]]:
        """Folders of models, which stay while they are used."""
        with self._lock:
            for sha256 in models:
                if not self.holds(sha256):
                    raise ModelEvicted(sha256)
            for sha256 in models:
                self._used[sha256] = self._used.get(sha256, 0) + 1
                os.utime(self.folder(sha256))
        try:
            yield [self.folder(sha256) for sha256 in models]
        finally:
            with self._lock:
                for sha256 in models:
                    self._used[sha256] -= 1

    def _part(self, sha256: str) -> Path:
        return self.root / "parts" / self.folder(sha256).name

    def _make_room(self, length: int) -> None:
        """Drop what was used longest ago until a model of that length fits into the quota."""
        with self._lock:
            entries = [entry for kind in ("models", "parts") for entry in (self.root / kind).iterdir()]
            entries.sort(key=lambda entry: entry.stat().st_mtime)
            total = sum(_size(entry) for entry in entries)
            for entry in entries:
                if total + length <= self.most_bytes:
                    return
                name = entry.name.removesuffix(".new")
                if self._used.get(name, 0) or name in self._coming:
                    continue
                total -= _size(entry)
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            if total + length > self.most_bytes:
                raise QuotaExceeded(
                    f"the device keeps at most {self.most_bytes} bytes of models, and those there are in use"
                )


def _check_hash(part: Path, sha256: str) -> None:
    with part.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise RequestRejected("the bytes that came are not those of the model's hash; send it again")


def _size(entry: Path) -> int:
    files = entry.rglob("*") if entry.is_dir() else [entry]
    return sum(file.stat().st_size for file in files)
