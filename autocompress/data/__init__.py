"""Labelled rows from wherever they are, and the splits made of them. No torch; the readers are imported when needed.

Parts: files (what a source in the study file holds), rows (filtered and checked), splits (cutting and sampling, seeded
and stratified).
"""

from __future__ import annotations

from autocompress.data.rows import Table, read_rows
from autocompress.data.splits import cut_rows, cut_size, sample_rows, shares

__all__ = ["Table", "cut_rows", "cut_size", "read_rows", "sample_rows", "shares"]
