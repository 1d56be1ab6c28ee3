"""The code of a model card: how a user opens the exported model in its runtime and predicts with it."""

from __future__ import annotations

import json
from pathlib import Path

from autocompress.actions.card_data import CardData
from autocompress.runtimes import RUNTIMES, read_runtime_name
from autocompress.tasks import Task

RUNTIME_USAGE = """```python
{task_imports}import numpy as np
{imports}
from tokenizers import Tokenizer

{opening}
tokenizer = Tokenizer.from_file("tokenizer.json")
{run}
{show}
```"""
ONE_TEXT = """{words}encoded = tokenizer.encode({texts})
inputs = {inputs}
{output} = {call}"""
TWO_TEXTS = """

def encode(text):
    encoded = tokenizer.encode(text)
    inputs = {inputs}
    return {call}


first, second = encode("{first}"), encode("{second}")"""
TRANSFORMERS_USAGE = """```python
from transformers import {auto_model}, AutoTokenizer

model = {auto_model}.from_pretrained(".", trust_remote_code=True)  # or autocompress.load_model(".")
{words}inputs = AutoTokenizer.from_pretrained(".")({texts}, truncation=True, return_tensors="pt")
{show}
```"""


def format_usage(data: CardData, folder: Path) -> str:
    """Return the usage section of a model card; `folder` holds the model already."""
    task = data.task
    texts = '"The first text.", "The second text."' if data.has_pairs else f'"{task.usage.text}"'
    if task.usage.second_text and data.form != "onnx":
        texts = f'["{task.usage.text}", "{task.usage.second_text}"], padding=True'
    if data.form != "onnx":
        code = TRANSFORMERS_USAGE.format(
            auto_model=task.auto_model,
            words=_words_line(task),
            texts="words, is_split_into_words=True" if task.reads_words else texts,
            show=task.usage.show_in_transformers,
        )
        needs = "Needs torch and transformers, which runs the code of this folder (`modeling_autocompress.py`):"
        return f"{needs}\n\n{code}"
    runtime = read_runtime_name(folder)
    code = _runtime_usage(runtime, task, texts, data.measurement.conditions["threads"], folder)
    return f"Needs {RUNTIMES.load(runtime).package}, numpy and tokenizers; run it in this folder:\n\n{code}"


def _words_line(task: Task) -> str:
    """Return the line that makes a list of words, where a task reads such lists."""
    return f'words = "{task.usage.text}".split()\n' if task.reads_words else ""


def _runtime_usage(runtime: str, task: Task, texts: str, threads: int, folder: Path) -> str:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    types = ', "token_type_ids": [encoded.type_ids]' if "token_type_ids" in settings["model_input_names"] else ""
    snippet = RUNTIMES.load(runtime).snippet
    run = (TWO_TEXTS if task.usage.second_text else ONE_TEXT).format(
        output=task.output,
        texts="words, is_pretokenized=True" if task.reads_words else texts,
        words=_words_line(task),
        first=task.usage.text,
        second=task.usage.second_text,
        inputs=f'{{"input_ids": [encoded.ids], "attention_mask": [encoded.attention_mask]{types}}}',
        call=snippet.call.format(inputs="{name: np.array(value) for name, value in inputs.items()}"),
    )
    return RUNTIME_USAGE.format(
        task_imports="".join(f"{line}\n" for line in task.usage.imports) + ("\n" if task.usage.imports else ""),
        show=task.usage.show,
        run=run,
        imports=snippet.imports,
        opening=snippet.opening.format(threads=threads),
    )
