"""List the entries of every kind, and which of them this machine can run. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autocompress.config import spaces
from autocompress.core import registry
from autocompress.core.domain import Names
from autocompress.core.errors import unknown
from autocompress.core.recipe import Scalar
from autocompress.core.technique import TECHNIQUES, ordered_techniques
from autocompress.runtimes import RUNTIMES

KINDS = (*registry.KINDS, "spaces")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry: most of the names stand in study files."""

    name: str
    summary: str
    available: bool = True  # on this machine
    here: str | None = None  # what this machine supports of it, where machines differ

    def as_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        return asdict(self)


def list_entries(kind: str) -> list[Entry]:
    """Return the entries of a kind, each with the first line of its docstring. Raises UsageError for unknown kinds."""
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    listers = {
        "runtimes": _list_runtimes,
        "techniques": _list_techniques,
        "attentions": _list_attentions,
        "spaces": _list_spaces,
    }
    return listers[kind]() if kind in listers else [_plain_entry(kind, name) for name in registry.names(kind)]


def _plain_entry(kind: str, name: str) -> Entry:
    written = name.replace("_", "-") if kind == "tasks" else name  # tasks are named as transformers names pipelines
    return Entry(name=written, summary=registry.summary(kind, name))


def _list_runtimes() -> list[Entry]:
    entries = []
    for name, runtime in RUNTIMES.entries().items():
        version = runtime.available()
        here = f"version {version}" if version else "not installed"
        entries.append(Entry(name=name, summary=RUNTIMES.summary(name), available=bool(version), here=here))
    return entries


def _list_techniques() -> list[Entry]:
    """Return the techniques in the order of application, with the values that each installed runtime supports."""
    supported, entries = _supported_values(), []
    for name in ordered_techniques():
        values = [
            f"{', '.join(map(str, decisions[name]))} in {runtime}"
            for runtime, decisions in supported.items()
            if name in decisions
        ]
        entries.append(Entry(name=name, summary=TECHNIQUES.summary(name), here="; ".join(values) or None))
    return entries


def _list_attentions() -> list[Entry]:
    supported, entries = _supported_values(), []
    decisions = [
        name for name, technique in ordered_techniques().items() if technique.domain == Names(kind="attentions")
    ]
    for name in registry.names("attentions"):
        runtimes = [
            runtime
            for runtime, values in supported.items()
            if all(name in values.get(decision, (name,)) for decision in decisions)
        ]
        here = f"runs in {', '.join(runtimes)}" if runtimes else "no installed runtime supports it"
        summary = registry.summary("attentions", name)
        entries.append(Entry(name=name, summary=summary, available=bool(runtimes), here=here))
    return entries


def _supported_values() -> Mapping[str, Mapping[str, Sequence[Scalar]]]:
    """Return what each installed runtime supports: `{runtime: {decision: values}}`."""
    return {name: runtime.supported() for name, runtime in RUNTIMES.entries().items() if runtime.available()}


def _list_spaces() -> list[Entry]:
    """Return the packaged spaces, and those in ./search_spaces."""
    files = {**spaces(), **{path.stem: path for path in sorted(Path("search_spaces").glob("*.yaml"))}}
    return [Entry(name=name, summary=_first_comment(path)) for name, path in sorted(files.items())]


def _first_comment(path: Path) -> str:
    """Return the first sentence of the comment at the top of a space file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    length = next((number for number, line in enumerate(lines) if line[:1] != "#"), 0)
    comment = [line.removeprefix("#").strip() for line in lines[:length]]
    return " ".join(comment).partition(". ")[0].rstrip(".") + "." if comment else ""
