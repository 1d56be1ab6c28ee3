"""Names for objects of transformers: its model classes share no interface that a type checker could know."""

from __future__ import annotations

from typing import Any, TypeAlias

Model: TypeAlias = Any  # a transformers model
Config: TypeAlias = Any  # its config
