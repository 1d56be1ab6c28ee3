"""The type of a JSON object whose content mypy does not know: what was read, or is about to be written."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
