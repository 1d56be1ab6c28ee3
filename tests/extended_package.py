"""A copy of the package with the entries of `tests/extension`, in which commands and small programs run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.tiny import BAD, GOOD, tiny_tokenizer

ROOT = Path(__file__).parents[1]
EXTENSION = Path(__file__).parent / "extension"


@dataclass(frozen=True)
class ExtendedPackage:
    """The folder that holds the copy."""

    folder: Path

    def run(self, *arguments: object, cwd: Path | None = None) -> str:
        """Run a command of autocompress, which must succeed; return what it printed."""
        return self._run(["-m", "autocompress", *map(str, arguments)], cwd)

    def json(self, *arguments: object, cwd: Path | None = None) -> Any:
        """Run a command with `--json`; return its document."""
        return json.loads(self.run(*arguments, "--json", cwd=cwd))

    def python(self, program: str, *arguments: object, cwd: Path | None = None) -> str:
        """Run a program that may also import `tests`; return what it printed."""
        return self._run(["-c", program, *map(str, arguments)], cwd)

    def _run(self, arguments: list[str], cwd: Path | None) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=cwd or self.folder, env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


def extend_package(folder: Path) -> ExtendedPackage:
    """Copy the package and its search spaces to a folder, and add the entries; none may replace a file."""
    ignored = shutil.ignore_patterns("*.pyc.*")  # compiled files that another process is writing
    for name in ("autocompress", "search_spaces"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in sorted(EXTENSION.rglob("*.py")):
        target = folder / "autocompress" / path.relative_to(EXTENSION)
        if path.parent == EXTENSION:
            continue  # this folder's own docstring
        assert not target.exists(), f"{target} is a file of the package"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return ExtendedPackage(folder)


def nomic_model(folder: Path, head: str = "AutoModel", **sizes: int) -> Path:
    """Save a random Nomic BERT of two layers with its tokenizer, and return the folder; `head` is a class of transformers."""
    import torch
    import transformers

    tokenizer = tiny_tokenizer("bert")
    config = transformers.NomicBertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.2, pad_token_id=tokenizer.pad_token_id, **sizes,
    )  # fmt: skip
    torch.manual_seed(0)
    getattr(transformers, head).from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


TOPICS = {"praise": GOOD, "blame": BAD, "cast": ("actor", "scene", "music")}


def tiny_label_sets(count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows `{text, labels}`: a text has words of each topic in its list of labels, which may be empty."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        labels = [name for bit, name in enumerate(TOPICS) if number >> bit & 1]
        words = [str(word) for word in rng.choice(("the", "a", "film", "story", "plot", "is", "was"), 4)]
        words += [str(word) for name in labels for word in rng.choice(TOPICS[name], 2)]
        rng.shuffle(words)
        rows.append({"text": " ".join(words), "labels": labels})
    return rows
