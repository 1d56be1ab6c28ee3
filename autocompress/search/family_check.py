"""Check before any work that the decisions of a space can be applied to the teacher's family."""

from __future__ import annotations

from autocompress.core.errors import UsageError
from autocompress.core.technique import ordered_techniques
from autocompress.models.families import load_family
from autocompress.models.model_config import ModelConfig
from autocompress.space.space import Space
from autocompress.techniques.stages import StructureTechnique


def check_family(space: Space, config: ModelConfig, place: str) -> None:
    """Raise UsageError where a space asks for what the model's family has no answer to; `place` begins the message.

    The layers of a family without a file cannot be taken apart, so that nothing of it is trained. Some values are undefined
    with some families.
    """
    family, trained = load_family(config.model_type), _list_trained(space)
    if not family.is_known and trained:
        raise UsageError(
            f"{place}: {', '.join(trained)}: autocompress has no file for the family {config.model_type!r}, so its layers"
            " cannot be taken apart; use `space: bits`"
        )
    for name, technique in ordered_techniques().items():
        if isinstance(technique, StructureTechnique):
            for value in space.choices[name]:
                technique.check_family(value, family, f"{place}.{name}")


def _list_trained(space: Space) -> list[str]:
    """Return the decisions of a space on which trained weights depend, and which may change the model."""
    return [name for name, technique in ordered_techniques().items() if technique.is_trained and space.changes(name)]
