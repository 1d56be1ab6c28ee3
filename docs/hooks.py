"""The hooks of mkdocs: add the reference pages that are generated from the code, and the measured table of each decision."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parent))
import reference


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    for name, text in reference.build_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace the marker of a decision's page by the table that was measured for it."""
    decision = Path(page.file.src_uri).stem
    return markdown.replace(reference.EFFECT_MARKER, reference.render_effect(decision))
