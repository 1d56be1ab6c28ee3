"""The store of a study: artifacts by the sha256 of their manifest, stage results by their keys, and logs.

`tests/contracts/artifact_store.py` holds the tests that each `ArtifactStore` must pass.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from autocompress.core.json_types import Json
from autocompress.core.stage import Stage, digest
from autocompress.storage.atomic_folder import folder_size, move_into_place, open_temporary_folder
from autocompress.storage.checksums import manifest
from autocompress.storage.stage_cache import StageCache


class ArtifactStore(Protocol):
    """Keeps artifacts under the sha256 of their manifest; several processes use it at the same time."""

    def artifact(self, sha256: str) -> Path:
        """Return the folder of an artifact on this machine, which does not exist where the store has no such artifact."""

    def has_artifact(self, sha256: str) -> bool:
        """Return whether the store has an artifact."""

    def add_artifact(self, build: Callable[[Path], None]) -> str:
        """Let `build` fill an empty folder, store it under the sha256 of its manifest, and return that sha256.

        Equal content is stored once. Where `build` raises, nothing is stored.
        """

    def shrink(self, max_bytes: float, keep: Collection[str]) -> None:
        """Remove the least recently used entries until at most `max_bytes` remain.

        Artifacts whose sha256 is in `keep` are never removed.
        """


class Store:
    """The folder of a study, an `ArtifactStore` in the file system.

    It holds artifacts (`models/SHA`), stage results (`stages/KIND/KEY`), series of measurements (`KIND/KEY.txt`) and trial
    logs (`logs/`). Stage results of the stores at `sibling_roots` are linked instead of being computed again.
    """

    def __init__(self, root: Path, sibling_roots: Sequence[Path] = ()) -> None:
        self.root = root
        self._stage_cache = StageCache(root, sibling_roots)

    def artifact(self, sha256: str) -> Path:
        """Return the folder of an artifact, which may not exist."""
        return self.root / "models" / sha256

    def has_artifact(self, sha256: str) -> bool:
        """Return whether the store has an artifact."""
        return self.artifact(sha256).is_dir()

    def add_artifact(self, build: Callable[[Path], None]) -> str:
        """Let `build` fill a folder, store it under the sha256 of its manifest, and return that sha256."""
        with open_temporary_folder(self.root) as folder:
            build(folder)
            sha256 = digest(manifest(folder))
            move_into_place(folder, self.artifact(sha256))
        return sha256

    def stage(self, stage: Stage, build: Callable[[Path], None]) -> Path:
        """Return the folder of a stage's result; if it does not exist, `build` fills it."""
        return self._stage_cache.get_or_build(stage, build)

    def has_stage(self, stage: Stage) -> bool:
        """Return whether this study or a sibling has the stage's result."""
        return self._stage_cache.has(stage)

    def adopt(self, source: Path, stage: Stage) -> bool:
        """Link the result in the folder `source` under the key of `stage`; return false if that key has a result."""
        return self._stage_cache.adopt(source, stage)

    def find(self, kind: str, **inputs: object) -> Path | None:
        """Return a result of this study of that kind that has these inputs among its own, or null."""
        return self._stage_cache.find(kind, **inputs)

    def stages(self, kind: str) -> dict[str, Json]:
        """Return the inputs of all results of one kind by their keys, the siblings' results included."""
        return self._stage_cache.inputs_by_key(kind)

    def stage_folders(self) -> list[Path]:
        """Return the folders of all stage results."""
        return sorted((self.root / "stages").glob("*/*"))

    def series(self, kind: str, inputs: object) -> Path:
        """Return the file of the values measured under these conditions, one value per line; it may not exist."""
        return self.root / kind / f"{digest(inputs)}.txt"

    def log(self, trial: int) -> Path:
        """Return the log file of a trial."""
        return self.root / "logs" / f"trial-{trial:04d}.log"

    def size_bytes(self) -> int:
        """Return the bytes of all artifacts and stage results."""
        return sum(folder_size(entry) for entry in self._entries())

    def shrink(self, max_bytes: float, keep: Collection[str]) -> None:
        """Remove the least recently used artifacts and stage results until at most `max_bytes` remain.

        Artifacts whose sha256 is in `keep` are never removed.
        """
        entries = sorted(self._entries(), key=lambda path: path.stat().st_mtime)
        total = sum(folder_size(path) for path in entries)
        for path in entries:
            if total <= max_bytes:
                break
            if path.name not in keep:
                total -= folder_size(path)
                shutil.rmtree(path)

    def _entries(self) -> Iterator[Path]:
        yield from (self.root / "models").glob("*")
        yield from self.stage_folders()


def sibling_stores(root: Path) -> list[Path]:
    """Return the stores of the studies in the same folder: `STUDY/artifacts` each."""
    return sorted(path for path in root.parent.parent.glob(f"*/{root.name}") if path != root)
