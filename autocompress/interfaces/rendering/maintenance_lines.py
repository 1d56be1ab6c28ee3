"""Describe this machine and the stored studies in lines: disk space, database upgrades, `list` and `doctor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autocompress.core.formatting import counted, disk_space

if TYPE_CHECKING:
    from autocompress.actions.clean import Cleaning
    from autocompress.actions.doctor import Finding
    from autocompress.actions.inventory import Entry
    from autocompress.actions.upgrade_storage import Upgrade


def cleaning_sentences(cleanings: Sequence[Cleaning], *, removed: bool) -> list[str]:
    """Say what was removed of each study, or what can be removed."""
    if not cleanings:
        return ["no study was begun here"]
    lines = []
    for cleaning in cleanings:
        folders, size = counted(len(cleaning.folders), cleaning.what), disk_space(cleaning.bytes)
        lines.append(f"{cleaning.study}: {'removed' if removed else 'can remove'} {folders}, {size}")
    if not removed and any(cleaning.folders for cleaning in cleanings):
        lines.append("nothing was removed yet; add --yes to remove it")
    return lines


def upgrade_sentences(upgrade: Upgrade) -> list[str]:
    """Say what an upgrade of a database changed."""
    if upgrade.before == upgrade.after:
        database = f"{upgrade.storage} is up to date (schema {upgrade.after})"
    else:
        backup = f"; the backup is {upgrade.backup}" if upgrade.backup else ""
        database = f"upgraded {upgrade.storage} from schema {upgrade.before} to {upgrade.after}{backup}"
    return [database, f"{counted(upgrade.adopted, 'cached result')} of earlier versions linked under new keys"]


def inventory_lines(entries: Mapping[str, Sequence[Entry]]) -> list[str]:
    """List the entries of each kind: name, summary, and in a second line what this machine supports."""
    lines = []
    for kind, of_kind in entries.items():
        width = max((len(entry.name) for entry in of_kind), default=0)
        lines.append(kind)
        for entry in of_kind:
            lines.append(f"  {entry.name:{width}}  {entry.summary}")
            lines += [f"  {'':{width}}  here: {entry.here}"] if entry.here else []
        lines.append("")
    return lines[:-1]


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Print each finding of `doctor` in one line, and its advice in a second line."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{'✓' if finding.good else '!'} {finding.what:{width}}  {finding.found}")
        lines += [f"  {'':{width}}  {finding.advice}"] if finding.advice else []
    return lines
