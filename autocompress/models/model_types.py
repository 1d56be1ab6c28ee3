"""Names for objects of transformers: its model classes share no interface that a type checker could know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from transformers import PretrainedConfig

Model: TypeAlias = Any  # a transformers model
Config: TypeAlias = "PretrainedConfig"  # its config
