"""Write an exported folder: model, measurement, model card and hashes; all of it or nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autocompress.actions.model_card import CardData, measurement_json, model_card
from autocompress.actions.verify import MEASURED, SUMS, sums_of
from autocompress.core.errors import UsageError
from autocompress.storage.checksums import manifest

Fill = Callable[[Path], None]  # puts the model's files into an empty folder


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What now lies where."""

    trial: int
    form: str
    to: str
    sha256: str  # of the artifact that was measured
    files: int
    megabytes: float  # of all files
    set_aside: str | None  # where the former content of the folder is now

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def write_folder(about: CardData, fill: Fill, to: Path, force: bool = False) -> Exported:
    """Write the model, `measurement.json`, `README.md` and `SHA256SUMS` into the folder `to`.

    Nothing is half there: all is built beside the place and moved in, SHA256SUMS last. A folder that is not empty is an
    error; with `force` an earlier export in it is replaced, and anything else set aside under another name.
    """
    check_target(to, force)
    with _beside(to) as folder:
        fill(folder)
        (folder / MEASURED).write_text(measurement_json(about), encoding="utf-8")
        (folder / "README.md").write_text(model_card(about, folder), encoding="utf-8")
        (folder / SUMS).write_text(sums_of(folder), encoding="utf-8")
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e6
        set_aside = _clear(to)
        _move_into(folder, to)
    return Exported(
        trial=about.row.trial,
        form=about.form,
        to=str(to),
        sha256=about.row.sha256 or "",
        files=len(files),
        megabytes=round(size, 6),
        set_aside=str(set_aside) if set_aside else None,
    )


def check_target(to: Path, force: bool, needed: Sequence[Path] = ()) -> None:
    """Whether a folder may be written, said before any work starts. UsageError where not.

    `needed` are places that --force must not take away, beside the home and the working folder.
    """
    if to.exists() and not to.is_dir():
        raise UsageError(f"--to {to}: this is a file; name a folder")
    if not to.is_dir() or not any(to.iterdir()):
        return
    if not force:
        raise UsageError(f"--to {to}: the folder is not empty; name another one, or add --force")
    for place in (Path.cwd(), Path.home(), *needed):
        if place.resolve().is_relative_to(to.resolve()):
            raise UsageError(f"--to {to}: {place} is in it, which --force must not replace; name another folder")


class _beside:  # noqa: N801  # reads as a verb at its use
    """An empty folder on the disk of a place, gone at the end."""

    def __init__(self, to: Path) -> None:
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=to.parent, prefix=".export-", ignore_cleanup_errors=True)
        except OSError as error:
            raise UsageError(f"--to {to}: the folder cannot be written: {error.strerror}; name another one") from None

    def __enter__(self) -> Path:
        inner = Path(self._folder.name) / "model"
        inner.mkdir()
        return inner

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _clear(to: Path) -> Path | None:
    """Empty the folder: an earlier export goes, anything else is set aside; where it is then."""
    if not to.is_dir() or not any(to.iterdir()):
        return None
    if _is_export(to):
        shutil.rmtree(to)
        return None
    names = (to.with_name(f"{to.name}.before-{number}") for number in itertools.count(1))
    return to.rename(next(path for path in names if not path.exists()))


def _is_export(folder: Path) -> bool:
    """Whether all that a folder holds was listed by an export."""
    path = folder / SUMS
    listed = (
        {line.partition("  ")[2] for line in path.read_text("utf-8", "replace").splitlines()}
        if path.is_file()
        else set()
    )
    return bool(listed) and {MEASURED, "README.md"} <= listed and set(manifest(folder)) <= {*listed, SUMS}


def _move_into(folder: Path, to: Path) -> None:
    to.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir(), key=lambda path: path.name == SUMS):
        os.replace(path, to / path.name)
