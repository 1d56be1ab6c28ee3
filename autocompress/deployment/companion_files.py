"""Write the files beside a model in any form: config.json, the tokenizer's files, recipe.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autocompress.core.recipe import Recipe
from autocompress.models.attentions import read_attention_name
from autocompress.models.candidate import Candidate
from autocompress.tasks import DEFAULT_TASK, ModelInterface

RECIPE_FILE = "recipe.json"


def write_companion_files(
    candidate: Candidate, tokenizer: Any, interface: ModelInterface, folder: Path, runtime: str | None = None
) -> None:
    """Write config, tokenizer and recipe to `folder`; recipe.json names the task, and the runtime of an artifact."""
    _write_config(candidate, folder)
    _write_tokenizer(tokenizer, interface.has_pairs, folder)
    _write_recipe(candidate, interface.task, runtime, folder)


def read_recipe(folder: Path) -> Recipe:
    """Return the recipe of an artifact; decisions of other versions are left out."""
    facts = json.loads((folder / RECIPE_FILE).read_text(encoding="utf-8"))
    return Recipe.from_stored(facts["recipe"])


def _write_config(candidate: Candidate, folder: Path) -> None:
    config = candidate.model.config.to_dict()
    config["autocompress"] = {
        "heads": candidate.heads,
        "neurons": candidate.neurons,
        "attention": read_attention_name(candidate.model.config),
    }
    for private in ("_name_or_path", "transformers_version"):
        config.pop(private, None)
    config["_name_or_path"] = ""
    (folder / "config.json").write_text(json.dumps(config, indent=2, default=str) + "\n", encoding="utf-8")


def _write_tokenizer(tokenizer: Any, pairs: bool, folder: Path) -> None:
    """Write the tokenizer's files; for single texts it returns no token types, because the model has no such input."""
    input_names = [name for name in tokenizer.model_input_names if pairs or name != "token_type_ids"]
    before, tokenizer.model_input_names = tokenizer.model_input_names, input_names
    tokenizer.backend_tokenizer.no_padding()  # the files of some models always pad to 128 tokens
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.model_input_names = before
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for private in ("name_or_path", "is_local", "local_files_only"):
        settings.pop(private, None)
    settings["model_input_names"] = input_names
    if truncation := tokenizer.backend_tokenizer.truncation:  # a user's texts are cut at the measured length
        settings["model_max_length"] = truncation["max_length"]
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_recipe(candidate: Candidate, task: str, runtime: str | None, folder: Path) -> None:
    facts: dict[str, object] = {
        "recipe": candidate.recipe.as_dict(),
        "kept_layers": candidate.kept_layers,
        "heads": candidate.heads,
        "neurons": candidate.neurons,
        "parameters": candidate.parameters,
    }
    if task != DEFAULT_TASK:  # artifacts of it are those of earlier versions, to the byte
        facts["task"] = task
    if runtime:
        facts["runtime"] = runtime
    (folder / RECIPE_FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
