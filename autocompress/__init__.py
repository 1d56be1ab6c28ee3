"""From a fine-tuned encoder to a Pareto front of smaller, faster models of it, each deployed and measured.

`load_model(folder)` gives back a model that `export --form transformers` wrote; everything else is the command line,
`autocompress --help`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_model"]


def load_model(folder: str | Path) -> Any:
    """The transformers model in a folder that `export --form transformers` wrote, ready to run."""
    from autocompress.models.transformers_form import load_model as load  # here, since it brings transformers

    return load(folder)
