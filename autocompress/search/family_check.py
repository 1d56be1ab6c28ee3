"""Check before any work that the decisions of a space can be applied to the teacher's family."""

from __future__ import annotations

from autocompress.core.errors import UsageError
from autocompress.core.recipe import AFTER_RECOVERY, NEUTRAL
from autocompress.models.attentions import check_features
from autocompress.models.families import load_family
from autocompress.models.model_config import ModelConfig
from autocompress.space.space import Space


def check_family(space: Space, config: ModelConfig, place: str) -> None:
    """Raise UsageError where a space asks for what the model's family has no answer to; `place` begins the message.

    A family without a file has only bits. Some attentions are undefined with some features of a family.
    """
    family, structure = load_family(config.model_type), _list_structure(space)
    if not family.is_known and structure:
        raise UsageError(
            f"{place}: {', '.join(structure)}: autocompress has no file for the family {config.model_type!r}, so its layers"
            " cannot be taken apart; use `space: bits`"
        )
    for name in space.choices["attention"]:
        check_features(str(name), family.features, f"{place}.attention")


def _list_structure(space: Space) -> list[str]:
    """Return the decisions of a space, other than bits, that may change the model."""
    neutral = {**NEUTRAL, "depth": space.layers}
    return [
        name
        for name, values in space.choices.items()
        if name not in AFTER_RECOVERY and any(value != neutral[name] for value in values)
    ]
