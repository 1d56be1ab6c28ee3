"""Search-space files: the packaged ones, and those of the user."""

from __future__ import annotations

from pathlib import Path

from autocompress.config.messages import available
from autocompress.config.paths import expand_variables, local_path
from autocompress.config.yaml_documents import read_mapping
from autocompress.core.errors import UsageError
from autocompress.core.json_types import Json

DEFAULT_SPACE = "encoder"
INITIAL = "initial"  # the key of a space that holds no decision: recipes to try first


def spaces() -> dict[str, Path]:
    """Return the packaged search spaces as `{name: file}`.

    Their folder is inside the package after installation, and beside it in a checkout.
    """
    package = Path(__file__).parents[1]
    candidates = (package / "search_spaces", package.parent / "search_spaces")
    folder = next((candidate for candidate in candidates if candidate.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def read_space(name: str, folder: Path, place: str) -> Json:
    """Return the mapping of a space, which is a path, or the name of a file.

    A name is looked up in `folder` (the study's), then in ./search_spaces, then among the packaged spaces. Study files of
    that name are skipped.
    """
    if name.startswith("package:") or "/" in name or name.endswith((".yaml", ".yml")):
        candidates: list[Path] = [local_path(name, folder, place)]
    else:
        candidates = [path for path in (*_user_files(name, folder), spaces().get(name)) if path and path.is_file()]
    for path in candidates:
        values = read_mapping(path, "search space")
        if "teacher" not in values:
            expanded: Json = expand_variables(values, f"{path.name}: {{}}".format)
            return expanded
    raise UsageError(f"{place}: unknown space {name!r}{available(name, _space_names())}")


def is_packaged(name: str, folder: Path) -> bool:
    """Return whether the name of a space means a packaged one, and no file of the user."""
    packaged = spaces().get(name)
    user_files = [path for path in _user_files(name, folder) if path.is_file()]
    return packaged is not None and all(path.samefile(packaged) for path in user_files)


def _user_files(name: str, folder: Path) -> tuple[Path, Path]:
    return folder / f"{name}.yaml", Path("search_spaces") / f"{name}.yaml"


def _space_names() -> list[str]:
    return sorted({*spaces(), *(path.stem for path in Path("search_spaces").glob("*.yaml"))})
