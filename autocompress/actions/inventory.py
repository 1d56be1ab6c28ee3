"""What there is to choose from, and what of it this machine can run: the content of `list`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autocompress.config import spaces
from autocompress.core import registry
from autocompress.core.errors import unknown
from autocompress.core.recipe import DECISIONS, Scalar

KINDS = ("techniques", "attentions", "tasks", "runtimes", "families", "spaces", "metrics")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that a study file can name."""

    name: str
    summary: str
    available: bool = True  # on this machine
    here: str | None = None  # what this machine makes of it, where that differs from machine to machine

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def inventory(kind: str) -> list[Entry]:
    """The entries of a kind, with the first line of what each says of itself. Unknown kinds are a UsageError."""
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    special = {"runtimes": _runtimes, "techniques": _techniques, "attentions": _attentions, "spaces": _spaces}
    return special[kind]() if kind in special else [_plain(kind, name) for name in registry.names(kind)]


def _plain(kind: str, name: str) -> Entry:
    shown = name.replace("_", "-") if kind == "tasks" else name  # tasks go by their transformers pipeline's name
    return Entry(name=shown, summary=registry.summary(kind, name))


def _runtimes() -> list[Entry]:
    entries = []
    for name in registry.names("runtimes"):
        version = registry.load("runtimes", name).available()
        here = f"version {version}" if version else "not installed"
        entries.append(Entry(name=name, summary=registry.summary("runtimes", name), available=bool(version), here=here))
    return entries


def _techniques() -> list[Entry]:
    """In the order of application. Values that each runtime here has kernels for, where not every value runs."""
    supported, entries = _supported(), []
    for name in sorted(registry.names("techniques"), key=DECISIONS.index):
        runs = [
            f"{', '.join(map(str, values[name]))} in {runtime}"
            for runtime, values in supported.items()
            if name in values
        ]
        entries.append(Entry(name=name, summary=registry.summary("techniques", name), here="; ".join(runs) or None))
    return entries


def _attentions() -> list[Entry]:
    supported, entries = _supported(), []
    for name in registry.names("attentions"):
        runs = [runtime for runtime, values in supported.items() if name in values.get("attention", (name,))]
        here = f"runs in {', '.join(runs)}" if runs else "no runtime here runs it"
        entries.append(Entry(name=name, summary=registry.summary("attentions", name), available=bool(runs), here=here))
    return entries


def _supported() -> Mapping[str, Mapping[str, Sequence[Scalar]]]:
    """What each runtime that is installed here runs: `{runtime: {decision: values}}`."""
    modules = {name: registry.load("runtimes", name) for name in registry.names("runtimes")}
    return {name: module.supported() for name, module in modules.items() if module.available()}


def _spaces() -> list[Entry]:
    """The packaged spaces, and those in ./search_spaces."""
    found = {**spaces(), **{path.stem: path for path in sorted(Path("search_spaces").glob("*.yaml"))}}
    return [Entry(name=name, summary=_first_comment(path)) for name, path in sorted(found.items())]


def _first_comment(path: Path) -> str:
    """The first sentence of the comment that a space begins with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [
        line.removeprefix("#").strip() for line in lines[: next((i for i, x in enumerate(lines) if x[:1] != "#"), 0)]
    ]
    return " ".join(comment).partition(". ")[0].rstrip(".") + "." if comment else ""
