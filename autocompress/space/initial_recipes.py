"""The recipes that a search tries first: `initial:` of the space file, or that of the packaged space `encoder`."""

from __future__ import annotations

from collections.abc import Mapping

from autocompress.config.space_files import DEFAULT_SPACE, INITIAL, spaces
from autocompress.config.yaml_documents import read_mapping
from autocompress.core.domain import Anatomy
from autocompress.core.scalar import Scalar
from autocompress.core.technique import ordered_techniques

InitialValues = Mapping[str, Scalar]  # values near which a recipe is wanted; absent decisions are neutral


def parse_initial(spec: Mapping[str, object], anatomy: Anatomy, place: str) -> tuple[InitialValues, ...]:
    """Return the initial values of a space; UsageError, which names the place, for a value outside its domain."""
    if spec.get(INITIAL) is None:
        place, spec = f"space {DEFAULT_SPACE}", _read_default()
    written = spec.get(INITIAL)
    recipes = [values for values in written if isinstance(values, Mapping)] if isinstance(written, list) else []
    return tuple(
        {
            name: ordered_techniques()[name].domain.parse_initial(
                name, item, anatomy, f"{place}.{INITIAL}.{number}.{name}"
            )
            for name, item in values.items()
        }
        for number, values in enumerate(recipes)
    )


def _read_default() -> Mapping[str, object]:
    path = spaces().get(DEFAULT_SPACE)
    return {} if path is None else read_mapping(path, "search space")
