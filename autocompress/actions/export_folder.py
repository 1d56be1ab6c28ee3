"""Write an exported folder: model, measurement, model card and hashes; all of it or nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from autocompress.actions.card_data import CardData
from autocompress.actions.measurement_json import measurement_json
from autocompress.actions.model_card import model_card
from autocompress.actions.verify import MEASUREMENT_FILE, SUMS_FILE, format_sums
from autocompress.core.errors import UsageError
from autocompress.storage.checksums import manifest

WriteModel = Callable[[Path], None]  # writes the model's files into an empty folder


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The result of an export."""

    trial: int
    form: str
    to: str
    sha256: str  # of the artifact that was measured
    files: int
    megabytes: float  # of all files
    set_aside: str | None  # where the former content of the folder is now

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def write_folder(data: CardData, write_model: WriteModel, to: Path, force: bool = False) -> Exported:
    """Write the model, `measurement.json`, `README.md` and `SHA256SUMS` into the folder `to`.

    All files are built in a temporary folder beside `to` and then moved, SHA256SUMS last. A folder that is not empty is
    an error; `force` replaces an earlier export and renames anything else.
    """
    check_target(to, force)
    with _temporary_folder_beside(to) as folder:
        write_model(folder)
        (folder / MEASUREMENT_FILE).write_text(measurement_json(data), encoding="utf-8")
        (folder / "README.md").write_text(model_card(data, folder), encoding="utf-8")
        (folder / SUMS_FILE).write_text(format_sums(folder), encoding="utf-8")
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e6
        set_aside = _empty_target(to)
        _move_into(folder, to)
    return Exported(
        trial=data.row.trial,
        form=data.form,
        to=str(to),
        sha256=data.row.sha256 or "",
        files=len(files),
        megabytes=round(size, 6),
        set_aside=str(set_aside) if set_aside else None,
    )


def check_target(to: Path, force: bool, needed: Sequence[Path] = ()) -> None:
    """Raise UsageError if the folder must not be written; called before any work starts.

    `force` never replaces a folder that holds the home folder, the working folder or one of `needed`.
    """
    if to.exists() and not to.is_dir():
        raise UsageError(f"--to {to}: this is a file; name a folder")
    if not to.is_dir() or not any(to.iterdir()):
        return
    if not force:
        raise UsageError(f"--to {to}: the folder is not empty; name another one, or add --force")
    for path in (Path.cwd(), Path.home(), *needed):
        if path.resolve().is_relative_to(to.resolve()):
            raise UsageError(f"--to {to}: the folder contains {path}, so --force must not replace it; name another one")


@contextmanager
def _temporary_folder_beside(to: Path) -> Iterator[Path]:
    """Give an empty folder on the same disk as `to`, and delete it at the end."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=to.parent, prefix=".export-", ignore_cleanup_errors=True)
    except OSError as error:
        raise UsageError(f"--to {to}: the folder cannot be written: {error.strerror}; name another one") from None
    with temporary as name:
        folder = Path(name) / "model"
        folder.mkdir()
        yield folder


def _empty_target(to: Path) -> Path | None:
    """Delete an earlier export; rename a folder with any other content, and return its new path."""
    if not to.is_dir() or not any(to.iterdir()):
        return None
    if _is_export(to):
        shutil.rmtree(to)
        return None
    names = (to.with_name(f"{to.name}.before-{number}") for number in itertools.count(1))
    return to.rename(next(path for path in names if not path.exists()))


def _is_export(folder: Path) -> bool:
    """Return whether an export listed all files that the folder holds."""
    path = folder / SUMS_FILE
    listed = (
        {line.partition("  ")[2] for line in path.read_text("utf-8", "replace").splitlines()}
        if path.is_file()
        else set()
    )
    return bool(listed) and {MEASUREMENT_FILE, "README.md"} <= listed and set(manifest(folder)) <= {*listed, SUMS_FILE}


def _move_into(folder: Path, to: Path) -> None:
    to.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir(), key=lambda path: path.name == SUMS_FILE):
        os.replace(path, to / path.name)
