"""Labelled rows from files and the hub, and the splits made of them. Imports no torch; readers are imported on use."""

from __future__ import annotations

from autocompress.data.rows import Table, read_rows, read_table, read_texts
from autocompress.data.splits import cut_rows, cut_size, sample_rows, shares

__all__ = ["Table", "cut_rows", "cut_size", "read_rows", "read_table", "read_texts", "sample_rows", "shares"]
