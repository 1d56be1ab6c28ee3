"""Load, check, identify and save the teacher: the user's model, which the study may have fine-tuned first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from autocompress.core.errors import UsageError
from autocompress.data.source_files import MODEL_FILES
from autocompress.models import attentions
from autocompress.models.families import load_family
from autocompress.storage.checksums import file_sha256
from autocompress.tasks import Task, TaskData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


UNUSED = "pooler."  # weights of a base model that no output here needs


def load_tokenizer(model: str, offline: bool = False, reads_words: bool = False) -> PreTrainedTokenizerFast:
    """Load the model's fast tokenizer; UsageError where it has none.

    With `reads_words` it is for lists of words: a tokenizer whose tokens hold the space before a word adds one to each.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=offline)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UsageError(f"teacher.model: {model!r} has no fast tokenizer; save it with a tokenizer.json")
    if reads_words and '"add_prefix_space":false' in tokenizer.backend_tokenizer.to_str():
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=offline, add_prefix_space=True)
    assert isinstance(tokenizer, PreTrainedTokenizerFast)  # as above
    return tokenizer


def load_teacher(model: str, task: Task, data: TaskData, new_head: bool, seed: int, offline: bool = False) -> Any:
    """Load the model of a task, with a new head where it will be fine-tuned.

    UsageError where a head that is not trained further does not fit the data.
    """
    import transformers

    attentions.register_attentions()
    is_known = load_family(transformers.AutoConfig.from_pretrained(model, local_files_only=offline).model_type).is_known
    torch.manual_seed(seed)  # a new head starts at random
    options = {**task.head_options(data), "ignore_mismatched_sizes": True} if new_head else {}
    loaded, info = getattr(transformers, task.auto_model).from_pretrained(
        model,
        local_files_only=offline,
        attn_implementation=attentions.implementation_name("full") if is_known else "eager",
        dtype=torch.float32,
        output_loading_info=True,
        **options,
    )
    task.prepare_model(loaded, model, offline)
    missing = [name for name in info["missing_keys"] if not name.startswith(UNUSED)]
    task.check_head(model, loaded.config, data, is_untrained=bool(missing) and not new_head)
    return loaded.eval()


def model_fingerprint(model: str, more_files: Sequence[str] = ()) -> dict[str, str]:
    """Return the sha256 of each file that defines a local model; a hub name identifies itself.

    `more_files` are patterns of files that the model's task reads, too.
    """
    folder = Path(model)
    if not folder.is_dir():
        return {"hub": model}
    return {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for pattern in (*MODEL_FILES, *more_files)
        for path in sorted(folder.glob(pattern))
    }


def save_teacher(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write model and tokenizer as a transformers folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
