"""What mkdocs asks for while it builds: reference pages made from the code, and measured tables inside of the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
import reference


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    for name, text in reference.pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put what was measured of a decision in the place of its mark."""
    decision = Path(page.file.src_uri).stem
    return markdown.replace(reference.EFFECT_MARK, reference.effect(decision))
