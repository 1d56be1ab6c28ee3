"""Tiny models, tokenizers, data and study files for end-to-end tests, made in milliseconds.

Nothing is downloaded: models are random, tokenizers are built in memory, and the texts consist of about 30 words. The task
is learnable: the label of a row says whether it has more good or more bad words.
"""

from __future__ import annotations

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

FAMILIES = ("bert", "roberta", "distilbert", "electra", "modernbert", "albert", "mpnet")
WITH_TYPES = ("bert", "electra", "albert")  # families whose models read several token types
GOOD = ("good", "fine", "great", "lovely", "superb", "bright", "moving", "witty")
BAD = ("bad", "dull", "awful", "poor", "stale", "grim", "clumsy", "flat")
PLAIN = ("the", "a", "film", "story", "plot", "is", "was", "and", "but", "very", "actor", "scene", "it", "music")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TAG_NAMES = ("O", "B-POS", "I-POS", "B-NEG", "I-NEG")  # of tagged rows
POSITIONS = 64  # the longest input of a tiny model, in tokens


def is_defined(family: str, attention: str = "full", **decisions: Any) -> bool:
    """Return whether a family may be combined with an attention; the other decisions do not matter."""
    from autocompress.models.attentions import ATTENTIONS
    from autocompress.models.families import load_family

    return not set(ATTENTIONS.load(attention).excludes) & set(load_family(family).features)


def tiny_teacher(folder: Path, family: str = "bert", *, seed: int = 0, **sizes: Any) -> Path:
    """Save a random classifier of a family with its tokenizer as a transformers folder, and return the folder.

    `sizes`: layers (3), hidden (32), heads (4), neurons (64), labels (2), spread (0.02: standard deviation of the weights;
    with 0.2, an untrained model predicts different labels for different rows).
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(tiny_config(family, **sizes))
    model.save_pretrained(folder)
    tiny_tokenizer(family).save_pretrained(folder)
    return folder


def tiny_config(family: str, **sizes: Any) -> Any:
    """Return the transformers config of a tiny model."""
    import transformers

    layers, hidden, heads, neurons, labels, spread = (
        sizes.get(name, default)
        for name, default in {"layers": 3, "hidden": 32, "heads": 4, "neurons": 64, "labels": 2, "spread": 0.02}.items()
    )
    common = {
        "vocab_size": len(tiny_tokenizer(family)),
        "max_position_embeddings": POSITIONS + 2,
        "initializer_range": spread,
        "num_labels": labels,
        "pad_token_id": tiny_tokenizer(family).pad_token_id,
    }
    if family == "distilbert":
        return transformers.DistilBertConfig(**common, n_layers=layers, dim=hidden, n_heads=heads, hidden_dim=neurons)
    sized = {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "intermediate_size": neurons,
    }
    further: dict[str, Any] = {
        "electra": {"embedding_size": hidden // 2},
        "albert": {"embedding_size": hidden // 2},
        "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 3},
    }
    kinds = {
        "bert": transformers.BertConfig,
        "roberta": transformers.RobertaConfig,
        "electra": transformers.ElectraConfig,
        "modernbert": transformers.ModernBertConfig,
        "albert": transformers.AlbertConfig,
        "mpnet": transformers.MPNetConfig,
    }
    return kinds[family](**common, **sized, **further.get(family, {}))


@cache
def tiny_tokenizer(family: str) -> Any:
    """Return the tokenizer of a family: BPE for RoBERTa, WordPiece for the others."""
    from transformers import BertTokenizer, DistilBertTokenizer, ElectraTokenizer, MPNetTokenizer, RobertaTokenizer

    if family == "roberta":
        return RobertaTokenizer(**_trained_bpe(), model_max_length=POSITIONS)
    special = ("<s>", "<pad>", "</s>", "[UNK]", "<mask>") if family == "mpnet" else SPECIAL
    words = [*special, *GOOD, *BAD, *PLAIN, *(letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter != "a")]
    vocabulary = {
        word: number for number, word in enumerate([*words, *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")])
    }
    kinds = {"distilbert": DistilBertTokenizer, "electra": ElectraTokenizer, "mpnet": MPNetTokenizer}
    tokenizer = kinds.get(family, BertTokenizer)(vocab=vocabulary, model_max_length=POSITIONS)
    if family == "modernbert":
        tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def _trained_bpe() -> dict[str, Any]:
    from tokenizers import ByteLevelBPETokenizer

    bpe = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bpe.train_from_iterator(
        [" ".join(GOOD + BAD + PLAIN)] * 3, vocab_size=400, special_tokens=special, show_progress=False
    )
    model = json.loads(bpe.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(merge) for merge in model["merges"]]}


def tiny_rows(count: int, seed: int = 0, *, labels: int = 2, pairs: bool = False) -> list[dict[str, Any]]:
    """Return rows `{text, label}` or `{text, text_pair, label}`, each of 6 to 14 words.

    With 2 labels: 1 if good words outnumber bad ones, else 0. With 3: 0 bad, 1 as many of each, 2 good.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = number % labels
        words = [str(word) for word in rng.choice(PLAIN, int(rng.integers(2, 9)))]
        words += [str(word) for word in rng.choice(GOOD, 4 if label == labels - 1 else 2)]
        words += [str(word) for word in rng.choice(BAD, 4 if label == 0 else 2)]
        rng.shuffle(words)
        half = len(words) // 2 if pairs else len(words)
        row: dict[str, Any] = {"text": " ".join(words[:half])}
        rows.append({**row, **({"text_pair": " ".join(words[half:])} if pairs else {}), "label": label})
    return rows


def tiny_tagged_rows(count: int, seed: int = 0, names: bool = True) -> list[dict[str, Any]]:
    """Return rows `{tokens, tags}` of 4 to 12 words. One to three good words in a row are an entity POS, bad ones are NEG.

    The tags are IOB2 by name, or their numbers in `TAG_NAMES`.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        tokens: list[str] = []
        tags: list[str] = []
        for _ in range(int(rng.integers(1, 3))):
            plain = [str(word) for word in rng.choice(PLAIN, int(rng.integers(2, 4)))]
            kind, words = (("POS", GOOD), ("NEG", BAD))[int(rng.integers(2))]
            entity = [str(word) for word in rng.choice(words, int(rng.integers(1, 4)))]
            tokens += plain + entity
            tags += ["O"] * len(plain) + [f"B-{kind}", *[f"I-{kind}"] * (len(entity) - 1)]
        rows.append({"tokens": tokens, "tags": tags if names else [TAG_NAMES.index(tag) for tag in tags]})
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write the rows as csv or parquet, by the suffix of `path`, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def tiny_data(
    folder: Path, *, train: int = 240, validation: int = 80, test: int = 80, kind: str = "csv", **rows: Any
) -> dict[str, str]:
    """Write three files of rows and return `{split: path}`, for `task.data` of a study file. `rows`: labels, pairs."""
    counts = {"train": train, "validation": validation, "test": test}
    return {
        split: str(write_rows(folder / f"{split}.{kind}", tiny_rows(count, seed, **rows)))
        for seed, (split, count) in enumerate(counts.items())
    }


def tiny_study(folder: Path, name: str = "tiny", *, family: str = "bert", pairs: bool = False, **keys: Any) -> Path:
    """Write a study file with its teacher and data, whose search takes a few seconds, and return the file.

    `keys` replace whole top-level keys of the file: `space={...}`, `budget={"trials": 2}`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "teacher").exists():
        tiny_teacher(folder / "teacher", family)
    tiny_data(folder / "data", pairs=pairs)
    values: dict[str, Any] = {
        "teacher": {"model": "./teacher", "fine_tune": {"epochs": 6, "learning_rate": 2e-3, "batch": 16}},
        "task": {
            "data": {split: f"data/{split}.csv" for split in ("train", "validation", "test")},
            "columns": {"text_pair": "text_pair"} if pairs else {},
            "max_tokens": 32,
        },
        "device": {"tokens": 8},
        "space": {"depth": [1, 2], "head_sparsity": [0, 0.5], "ffn_sparsity": [0, 0.5], "weight_bits": [32, 8]},
        "recovery": {"epochs": 3, "learning_rate": 2e-3, "batch": 16},
        "budget": {"trials": 3},
        **keys,
    }
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file
