"""The files that a study is made from, its teacher and its rows, and whether they are still what they were."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from glob import glob
from pathlib import Path

from autocompress.config import StudyPlan
from autocompress.config.paths import DATA_SUFFIXES
from autocompress.config.resolution import SOURCES
from autocompress.storage.checksums import file_sha256

MODEL_FILES = ("config.json", "*.safetensors", "*.bin", "tokenizer*", "vocab*", "merges.txt", "*.model")
TEACHER = "teacher.model"
# key path -> name of a file -> size in bytes, time of change in ns, sha256
Known = Mapping[str, Mapping[str, list[object]]]


def describe_sources(plan: StudyPlan) -> dict[str, dict[str, list[object]]]:
    """Return the local files of a plan's teacher and rows, for `changed_sources`; what a hub provides is not among them."""
    return {
        key: {name: [*_stamp(path), file_sha256(path)] for name, path in files.items()}
        for key, files in _list_sources(plan)
    }


def changed_sources(plan: StudyPlan, known: Known) -> dict[str, list[str]]:
    """Return the names of the files that were changed, added or removed since, by the key path that names them.

    Only a file whose size or time of change differs is read. A key path without a difference is left out.
    """
    changed = {}
    for key, files in _list_sources(plan):
        before = known.get(key)
        if before is not None:
            differing = [name for name, path in files.items() if not _is_same(path, before.get(name))]
            if names := sorted({*differing, *(name for name in before if name not in files)}):
                changed[key] = names
    return changed


def _list_sources(plan: StudyPlan) -> Iterator[tuple[str, dict[str, Path]]]:
    """Yield the key path of each local source, and its files by their names below it."""
    model = Path(plan.teacher.model)
    if model.is_dir():
        yield (
            TEACHER,
            {path.name: path for pattern in MODEL_FILES for path in sorted(model.glob(pattern)) if path.is_file()},
        )
    for name in SOURCES:
        source = getattr(plan.task.data, name)
        if isinstance(source, str):
            yield f"task.data.{name}", _by_name(_data_files(Path(source)))


def _data_files(source: Path) -> list[Path]:
    files = source.rglob("*") if source.is_dir() else map(Path, glob(str(source), recursive=True))
    return sorted(path for path in files if path.is_file() and path.suffix.lower() in (*DATA_SUFFIXES, ".arrow"))


def _by_name(files: list[Path]) -> dict[str, Path]:
    """Return the files by their paths below the folder that holds them all."""
    if not files:
        return {}
    root = Path(os.path.commonpath([path.parent for path in files]))
    return {path.relative_to(root).as_posix(): path for path in files}


def _is_same(path: Path, before: list[object] | None) -> bool:
    return before is not None and (_stamp(path) == before[:2] or file_sha256(path) == before[2])


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
