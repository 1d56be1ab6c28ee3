"""The cache of stage results: `stages/KIND/KEY`, one folder per result, with the result's inputs in a file beside it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from autocompress.core.json_types import Json
from autocompress.core.stage import Stage
from autocompress.storage.atomic_folder import link_tree, move_into_place, open_temporary_folder

INPUTS = "inputs.json"  # in the folder of a result
FORMAT = 2  # of INPUTS; files without the key `format` are older than composed keys


class StageCache:
    """The stage results below `root`.

    A result that one of `sibling_roots` (of other studies) holds is linked from there instead of being computed again.
    """

    def __init__(self, root: Path, sibling_roots: Sequence[Path] = ()) -> None:
        self.root, self._sibling_roots = root, tuple(sibling_roots)

    def get_or_build(self, stage: Stage, build: Callable[[Path], None]) -> Path:
        """Return the folder of a stage's result; if it does not exist, `build` fills it.

        A second process that needs the same result waits for the first.
        """
        path = _result_path(self.root, stage)
        if not path.is_dir():
            with self._lock(f"{stage.kind}-{stage.key}"):
                if not path.is_dir():
                    self._build(stage, build, path)
        os.utime(path)  # the time of last use, by which the store removes entries
        return path

    def has(self, stage: Stage) -> bool:
        """Return whether this study or a sibling has the stage's result."""
        return any(_result_path(root, stage).is_dir() for root in (self.root, *self._sibling_roots))

    def adopt(self, source: Path, stage: Stage) -> bool:
        """Link the result in the folder `source` under the key of `stage`; return false if that key has a result."""
        path = _result_path(self.root, stage)
        if path.is_dir():
            return False
        with open_temporary_folder(self.root) as folder:
            link_tree(source, folder)
            (folder / INPUTS).unlink()  # it is a link to the file of `source`
            _write_inputs(stage, folder)
            shutil.copystat(source, folder)
            move_into_place(folder, path)
        return True

    def find(self, kind: str, **inputs: object) -> Path | None:
        """Return a result of this study of that kind that has these inputs among its own, or null."""
        for file in self.root.glob(f"stages/{kind}/*/{INPUTS}"):
            result_inputs = json.loads(file.read_text(encoding="utf-8"))
            if all(result_inputs.get(name) == value for name, value in inputs.items()):
                return file.parent
        return None

    def inputs_by_key(self, kind: str) -> dict[str, Json]:
        """Return the inputs of all results of one kind by their keys, the siblings' results included."""
        roots = (*self._sibling_roots, self.root)
        files = [file for root in roots for file in root.glob(f"stages/{kind}/*/{INPUTS}")]
        return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}

    def _build(self, stage: Stage, build: Callable[[Path], None], path: Path) -> None:
        with open_temporary_folder(self.root) as folder:
            if not self._link_from_sibling(stage, folder):
                build(folder)
                _write_inputs(stage, folder)
            move_into_place(folder, path)

    def _link_from_sibling(self, stage: Stage, folder: Path) -> bool:
        for root in self._sibling_roots:
            try:
                link_tree(_result_path(root, stage), folder)
            except OSError:  # the sibling has no such result, or is removing it
                shutil.rmtree(folder)
                folder.mkdir()
            else:
                return True
        return False

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Hold a lock between processes; it is released when its process ends."""
        folder = self.root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _write_inputs(stage: Stage, folder: Path) -> None:
    text = json.dumps({"format": FORMAT, **stage.inputs}, default=str)
    (folder / INPUTS).write_text(text, encoding="utf-8")


def _result_path(root: Path, stage: Stage) -> Path:
    return root / "stages" / stage.kind / stage.key
