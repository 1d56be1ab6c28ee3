"""Compress a fine-tuned encoder into a Pareto front of smaller, faster models, each deployed and measured.

`load_model(folder)` loads a model that `export --form transformers` wrote. Everything else is the command line:
`autocompress --help`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def load_model(folder: str | Path) -> Any:
    """Load the transformers model from a folder that `export --form transformers` wrote."""
    from autocompress.models.transformers_form import load_model as load  # imports transformers

    return load(folder)
