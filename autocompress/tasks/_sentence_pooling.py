"""How a model makes one embedding of its tokens' states: the settings of sentence-transformers, or a default."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocompress.core.errors import UsageError
from autocompress.core.sentence_embedding import POOLING_KEY, POOLINGS

MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
DEFAULT = {"pooling": "mean", "normalize": True}


def read_pooling(source: str, place: str, offline: bool) -> dict[str, object]:
    """Return `{"pooling": "mean" | "cls", "normalize": bool}` of the model in a folder or on the hub.

    Without the files of sentence-transformers they are the settings in the model's config, else the mean of all tokens,
    scaled to length 1. UsageError, which `place` begins, for modules and pooling modes that are not supported.
    """
    modules = _read_json(source, "modules.json", offline)
    if modules is None:
        config = _read_json(source, "config.json", offline) or {}
        return dict(config.get(POOLING_KEY) or DEFAULT)
    kinds = {_kind(module): str(module["path"]) for module in modules}
    for kind, path in kinds.items():
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise UsageError(
                f"{place}: {source!r} ends with the module {kind} of sentence-transformers ({path}), which is not supported;"
                " choose a model whose modules are Transformer, Pooling and Normalize"
            )
    mode = "mean"
    if "Pooling" in kinds:
        settings = _read_json(source, f"{kinds['Pooling']}/config.json", offline) or {}
        mode = _read_mode(settings, source, place)
    return {"pooling": mode, "normalize": "Normalize" in kinds}


def has_pooling(source: str, offline: bool) -> bool:
    """Whether a model says how it pools: it was trained to give embeddings."""
    config = _read_json(source, "config.json", offline) or {}
    return POOLING_KEY in config or _read_json(source, "modules.json", offline) is not None


def _kind(module: Mapping[str, Any]) -> str:
    return str(module["type"]).rpartition(".")[2]


def _read_mode(settings: Mapping[str, Any], source: str, place: str) -> str:
    """Return the pooling mode; older versions write a flag for each mode, newer ones its name."""
    named = settings.get("pooling_mode")
    modes = [named] if isinstance(named, str) else list(named or ())
    modes += [MODES.get(flag, flag) for flag, value in settings.items() if flag.startswith("pooling_mode_") and value]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        names = " with ".join(map(str, modes)) or "none"
        raise UsageError(
            f"{place}: {source!r} pools its tokens by {names}, which is not supported; available: {', '.join(POOLINGS)}"
        )
    return str(modes[0])


def _read_json(source: str, name: str, offline: bool) -> Any:
    """Return the content of a file of a model; null where the model has no such file."""
    if Path(source).is_dir():
        path: str | Path | None = Path(source) / name
    else:
        from transformers.utils.hub import cached_file

        path = cached_file(
            source,
            name,
            local_files_only=offline,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    return json.loads(Path(path).read_text(encoding="utf-8")) if path is not None and Path(path).is_file() else None
