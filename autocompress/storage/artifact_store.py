"""A content-addressed folder: artifacts by the sha256 of their manifest, stage results by the hash of their inputs.

Nothing is ever half there: an entry is built in a temporary folder beside its place and renamed into it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autocompress.core.stage import Stage, digest

INPUTS = "inputs.json"  # in a stage's folder
FORMAT = 2  # of INPUTS; without the entry `format` it was written before keys were composed


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest(folder: Path) -> dict[str, str]:
    """`{relative path: sha256}` of every file of a folder, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


class Store:
    """Artifacts (`models/SHA`), stage results (`stages/KIND/KEY`), series (`KIND/KEY.txt`) and trial logs (`logs/`) of a study.

    A stage's result that one of `others` has is linked from there instead of being made again.
    """

    def __init__(self, root: Path, others: Sequence[Path] = ()) -> None:
        self.root, self._others = root, tuple(others)

    def artifact(self, sha256: str) -> Path:
        """Folder of an artifact, whether or not it is there."""
        return self.root / "models" / sha256

    def add_artifact(self, build: Callable[[Path], None]) -> str:
        """Let `build` fill a folder, file it under the sha256 of its manifest, and return that sha256."""
        with _staging(self.root) as folder:
            build(folder)
            sha256 = digest(manifest(folder))
            _move(folder, self.artifact(sha256))
        return sha256

    def stage(self, stage: Stage, build: Callable[[Path], None]) -> Path:
        """Folder of a stage's result; `build` fills it where it is not there yet.

        A second process that wants the same result meanwhile waits for the first. What it was made from stands beside it.
        """
        place = _place(self.root, stage)
        if not place.is_dir():
            with self._locked(f"{stage.kind}-{stage.key}"):
                if not place.is_dir():
                    with _staging(self.root) as folder:
                        if not self._linked(stage, folder):
                            build(folder)
                            write_inputs(stage, folder)
                        _move(folder, place)
        os.utime(place)  # last use, for `shrink`
        return place

    def has_stage(self, stage: Stage) -> bool:
        """Whether a stage's result is there, or with another study."""
        return any(_place(root, stage).is_dir() for root in (self.root, *self._others))

    def adopt(self, source: Path, stage: Stage) -> bool:
        """Link the result in the folder `source` under the key of `stage`; false where that is there already."""
        place = _place(self.root, stage)
        if place.is_dir():
            return False
        with _staging(self.root) as folder:
            shutil.copytree(source, folder, copy_function=_link, dirs_exist_ok=True)
            (folder / INPUTS).unlink()  # a link to that of the source
            write_inputs(stage, folder)
            shutil.copystat(source, folder)
            _move(folder, place)
        return True

    def find(self, kind: str, **known: Any) -> Path | None:
        """A result of that kind which was made from these inputs, among others; null where there is none."""
        for file in self.root.glob(f"stages/{kind}/*/{INPUTS}"):
            inputs = json.loads(file.read_text(encoding="utf-8"))
            if all(inputs.get(name) == value for name, value in known.items()):
                return file.parent
        return None

    def stages(self, kind: str) -> dict[str, Any]:
        """What the results of a kind were made from, by their keys; those of other studies included."""
        files = [file for root in (*self._others, self.root) for file in root.glob(f"stages/{kind}/*/{INPUTS}")]
        return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}

    def _linked(self, stage: Stage, folder: Path) -> bool:
        """Fill a folder with links to another study's result, where one has it: the disk holds it once."""
        for root in self._others:
            try:
                shutil.copytree(_place(root, stage), folder, copy_function=_link, dirs_exist_ok=True)
            except OSError:  # it has none, or is just being removed
                shutil.rmtree(folder)
                folder.mkdir()
            else:
                return True
        return False

    def series(self, kind: str, inputs: Any) -> Path:
        """File of what was seen under these conditions, one line after another; it need not exist."""
        return self.root / kind / f"{digest(inputs)}.txt"

    def log(self, trial: int) -> Path:
        """The log file of a trial."""
        return self.root / "logs" / f"trial-{trial:04d}.log"

    def size_bytes(self) -> int:
        """Bytes of everything kept."""
        return sum(_size(entry) for entry in self._entries())

    def shrink(self, max_bytes: float, keep: Collection[str]) -> list[Path]:
        """Remove least recently used entries until at most `max_bytes` stay; artifacts named in `keep` always stay."""
        entries = sorted(self._entries(), key=lambda path: path.stat().st_mtime)
        total = sum(_size(path) for path in entries)
        removed = []
        for path in entries:
            if total <= max_bytes:
                break
            if path.name not in keep:
                total -= _size(path)
                shutil.rmtree(path)
                removed.append(path)
        return removed

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One process at a time; the lock ends with its process."""
        locks = self.root / ".locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / name).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _entries(self) -> Iterator[Path]:
        yield from (self.root / "models").glob("*")
        yield from (self.root / "stages").glob("*/*")


def beside(root: Path) -> list[Path]:
    """The stores of the studies in the same folder: `STUDY/artifacts` each."""
    return sorted(other for other in root.parent.parent.glob(f"*/{root.name}") if other != root)


def write_inputs(stage: Stage, folder: Path) -> None:
    """Write beside a result what it was made from."""
    text = json.dumps({"format": FORMAT, **stage.inputs}, default=str)
    (folder / INPUTS).write_text(text, encoding="utf-8")


def _place(root: Path, stage: Stage) -> Path:
    return root / "stages" / stage.kind / stage.key


def _link(source: str, target: str) -> None:
    """A second name for a file, or a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class _staging:  # noqa: N801  # reads as a verb at its use
    """A temporary folder on the store's own disk, gone at the end."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=root, prefix=".new-", ignore_cleanup_errors=True)

    def __enter__(self) -> Path:
        inner = Path(self._folder.name) / "entry"
        inner.mkdir()
        return inner

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _move(folder: Path, place: Path) -> None:
    """Rename into place; where an equal entry got there first, that one stays."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _size(folder: Path) -> int:
    """Bytes on the disk; a file that has several names counts in equal parts under each."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(one.st_size // one.st_nlink for one in found)
