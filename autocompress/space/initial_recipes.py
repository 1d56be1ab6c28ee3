"""The recipes that a search tries first: `initial:` of the space file, or that of the packaged space `encoder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autocompress.config.space_files import DEFAULT_SPACE, INITIAL, spaces
from autocompress.config.yaml_documents import read_mapping
from autocompress.core.domain import Anatomy
from autocompress.core.scalar import Scalar
from autocompress.core.technique import ordered_techniques

InitialValues = Mapping[str, Scalar]  # values near which a recipe is wanted; absent decisions are neutral


def parse_initial(spec: Mapping[str, Any], anatomy: Anatomy, place: str) -> tuple[InitialValues, ...]:
    """Return the initial values of a space; UsageError, which names the place, for a value outside its domain."""
    written: Sequence[Mapping[str, Any]] | None = spec.get(INITIAL)
    if written is None:
        place, written = f"space {DEFAULT_SPACE}", _read_default()
    return tuple(
        {
            name: ordered_techniques()[name].domain.parse_initial(
                name, item, anatomy, f"{place}.{INITIAL}.{number}.{name}"
            )
            for name, item in values.items()
        }
        for number, values in enumerate(written)
    )


def _read_default() -> Sequence[Mapping[str, Any]]:
    path = spaces().get(DEFAULT_SPACE)
    return [] if path is None else read_mapping(path, "search space").get(INITIAL, [])
