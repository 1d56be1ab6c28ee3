"""Render results for people: tables, sentences, and the display of a running search.

Modules: tables, front_picture (a front drawn in characters), trial_sentences, comparison_sentences, folder_sentences,
maintenance_lines, progress (the display of a search), budget (its remaining time).
"""

from __future__ import annotations

from rich.console import Console

from autocompress.interfaces.rendering.comparison_sentences import (
    comparison_sentences,
    front_comparison_sentences,
    refresh_price,
    refresh_sentences,
    reproduction_sentences,
)
from autocompress.interfaces.rendering.folder_sentences import measurement_sentences, verification_sentence
from autocompress.interfaces.rendering.front_picture import FrontPicture
from autocompress.interfaces.rendering.maintenance_lines import (
    cleaning_sentences,
    finding_lines,
    inventory_lines,
    upgrade_sentences,
)
from autocompress.interfaces.rendering.tables import LEGEND, front_comparison_table, front_table, trials_table
from autocompress.interfaces.rendering.trial_sentences import (
    explanation_json,
    explanation_sentences,
    front_sentence,
    loosened_json,
    nearest_sentence,
    row_sentences,
)

__all__ = [
    "LEGEND",
    "WIDTH",
    "FrontPicture",
    "cleaning_sentences",
    "comparison_sentences",
    "console",
    "explanation_json",
    "explanation_sentences",
    "finding_lines",
    "front_comparison_sentences",
    "front_comparison_table",
    "front_sentence",
    "front_table",
    "inventory_lines",
    "loosened_json",
    "measurement_sentences",
    "nearest_sentence",
    "refresh_price",
    "refresh_sentences",
    "reproduction_sentences",
    "row_sentences",
    "trials_table",
    "upgrade_sentences",
    "verification_sentence",
]

WIDTH = 100  # columns that the tables are designed for; also the width where there is no terminal


def console(stderr: bool = False, no_color: bool = False) -> Console:
    """Return a rich console as wide as the terminal, or 100 columns where there is none; NO_COLOR=1 is honoured."""
    new_console = Console(stderr=stderr, no_color=no_color or None, highlight=False)
    if not new_console.is_terminal:
        new_console.width = WIDTH
    return new_console
