"""Write folders atomically: fill a temporary folder on the same disk, then rename it, so that no folder is ever incomplete."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_temporary_folder(root: Path) -> Iterator[Path]:
    """Give an empty folder on the disk of `root`; remove it at the end unless it was moved."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".new-", ignore_cleanup_errors=True) as outer:
        folder = Path(outer) / "entry"
        folder.mkdir()
        yield folder


def move_into_place(folder: Path, path: Path) -> None:
    """Rename a folder to `path`; if another process put an equal folder there first, keep that one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.rename(path)
    except OSError:
        if not path.is_dir():
            raise


def link_tree(source: Path, folder: Path) -> None:
    """Fill a folder with hard links to the files of `source`, or copies if the file system has no links."""
    shutil.copytree(source, folder, copy_function=_link_or_copy, dirs_exist_ok=True)


def folder_size(folder: Path) -> int:
    """Return the bytes of a folder on the disk; a file with n names counts as 1/n under each."""
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(stat.st_size // stat.st_nlink for stat in stats)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
