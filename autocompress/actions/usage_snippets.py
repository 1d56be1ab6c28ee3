"""The code of a model card: how a user opens the exported model in its runtime and predicts with it."""

from __future__ import annotations

import json
from pathlib import Path

from autocompress.actions.card_data import CardData
from autocompress.runtimes import RUNTIMES, read_runtime_name

RUNTIME_USAGE = """```python
import json

import numpy as np
{imports}
from tokenizers import Tokenizer

{opening}
tokenizer = Tokenizer.from_file("tokenizer.json")
encoded = tokenizer.encode({texts})
inputs = {{"input_ids": [encoded.ids], "attention_mask": [encoded.attention_mask]{types}}}
logits = {call}
print(json.load(open("config.json"))["id2label"][str(logits[0].argmax())])
```"""
TRANSFORMERS_USAGE = """```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(".", trust_remote_code=True)  # or autocompress.load_model(".")
inputs = AutoTokenizer.from_pretrained(".")({texts}, truncation=True, return_tensors="pt")
print(model.config.id2label[int(model(**inputs).logits.argmax())])
```"""


def format_usage(data: CardData, folder: Path) -> str:
    """Return the usage section of a model card; `folder` holds the model already."""
    texts = '"The first text.", "The second text."' if data.has_pairs else '"A text to classify."'
    if data.form != "onnx":
        needs = "Needs torch and transformers, which runs the code of this folder (`modeling_autocompress.py`):"
        return f"{needs}\n\n{TRANSFORMERS_USAGE.format(texts=texts)}"
    runtime = read_runtime_name(folder)
    code = _runtime_usage(runtime, texts, data.measurement.conditions["threads"], folder)
    return f"Needs {RUNTIMES.load(runtime).package}, numpy and tokenizers; run it in this folder:\n\n{code}"


def _runtime_usage(runtime: str, texts: str, threads: int, folder: Path) -> str:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    types = ', "token_type_ids": [encoded.type_ids]' if "token_type_ids" in settings["model_input_names"] else ""
    snippet = RUNTIMES.load(runtime).snippet
    return RUNTIME_USAGE.format(
        texts=texts,
        types=types,
        imports=snippet.imports,
        opening=snippet.opening.format(threads=threads),
        call=snippet.call.format(inputs="{name: np.array(value) for name, value in inputs.items()}"),
    )
