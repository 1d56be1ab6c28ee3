"""A tiny study of sentence embeddings: a random encoder as sentence-transformers saves it, and texts of about 30 words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.models import tiny_model
from tests.tiny import tiny_rows, tiny_tokenizer, write_rows


def tiny_encoder(folder: Path, family: str = "bert", *, pooling: str = "mean_tokens", **sizes: Any) -> Path:
    """Save a random encoder with the pooling settings of sentence-transformers, and return the folder."""
    tiny_model(family, "AutoModel", **sizes).save_pretrained(folder)
    tiny_tokenizer(family).save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}": True}), encoding="utf-8")
    return folder


def tiny_pairs(count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows `{first, second, score}`: the score is the share of words that both texts have."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in tiny_rows(count, seed):
        words, others = row["text"].split(), tiny_rows(2, seed + 1000 + len(rows))[1]["text"].split()
        kept = int(rng.integers(0, len(words) + 1))
        second = [*words[:kept], *others[: len(words) - kept]]
        score = len(set(words) & set(second)) / len(set(words) | set(second))
        rows.append({"first": row["text"], "second": " ".join(second), "score": round(score, 3)})
    return rows


def tiny_embedding_study(folder: Path, *, labelled: bool, name: str = "tiny", **keys: Any) -> Path:
    """Write a study file with its encoder and data, whose search takes a few seconds, and return the file.

    `labelled`: whether validation and test are labelled pairs; otherwise they are cut from the texts of train.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "teacher").exists():
        tiny_encoder(folder / "teacher")
    texts = [{"text": row["text"]} for row in tiny_rows(240, 5)]
    write_rows(folder / "texts.csv", texts)
    data = {"train": "texts.csv"}
    if labelled:
        for seed, split in enumerate(("validation", "test")):
            write_rows(folder / f"{split}.csv", tiny_pairs(40, seed))
            data[split] = f"{split}.csv"
    pairs = {"text": "first", "text_pair": "second", "label": "score", "train_text": "text"}
    values: dict[str, Any] = {
        "teacher": {"model": "./teacher"},
        "task": {
            "kind": "feature-extraction",
            "data": data,
            "max_tokens": 32,
            "columns": pairs if labelled else {},
        },
        "device": {"tokens": 8},
        "space": {"depth": [1, 2], "head_sparsity": [0, 0.5], "ffn_sparsity": 0.5, "weight_bits": [32, 8]},
        "recovery": {
            "epochs": 3,
            "short_epochs": 1,
            "supernet_epochs": 2,
            "learning_rate": 2e-3,
            "batch": 16,
            "copies": 1,
        },
        "budget": {"trials": 2},
        **keys,
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file
