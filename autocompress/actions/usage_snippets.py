"""The code of a model card: how a user opens the exported model in its runtime and predicts with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from autocompress.actions.card_data import CardData
from autocompress.runtimes import read_runtime_name


@dataclass(frozen=True)
class RuntimeSnippet:
    """The lines of a usage example that depend on the runtime; `{threads}` and `{inputs}` are filled in."""

    imports: str
    opening: str  # opens the model
    call: str  # gives its logits


SNIPPETS = {  # by runtime
    "onnxruntime": RuntimeSnippet(
        imports="import onnxruntime",
        opening="options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = {threads}\n"
        'session = onnxruntime.InferenceSession("model.onnx", options)',
        call="session.run(None, {inputs})[0]",
    ),
    "onnxruntime_cuda": RuntimeSnippet(
        imports="import onnxruntime",
        opening="options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = {threads}\n"
        'providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]\n'
        'session = onnxruntime.InferenceSession("model.onnx", options, providers=providers)',
        call="session.run(None, {inputs})[0]",
    ),
    "openvino": RuntimeSnippet(
        imports="import openvino",
        opening='options = {{"INFERENCE_NUM_THREADS": {threads}}}\n'
        'model = openvino.Core().compile_model("model.onnx", "CPU", options)',
        call="model({inputs})[0]",
    ),
    "openvino_static": RuntimeSnippet(
        imports="import functools\nimport openvino",
        opening='core, options = openvino.Core(), {{"INFERENCE_NUM_THREADS": {threads}}}\n\n'
        "@functools.cache  # compiles once per text length; pad the texts to a few lengths\n"
        "def compiled(tokens):\n"
        '    model = core.read_model("model.onnx")\n'
        "    model.reshape({{name: [1, tokens] for name in model.inputs}})\n"
        '    return core.compile_model(model, "CPU", options)\n',
        call="compiled(len(encoded.ids))({inputs})[0]",
    ),
    "torch": RuntimeSnippet(
        imports="import torch",
        opening='torch.set_num_threads({threads})\nmodel = torch._inductor.aoti_load_package("model.pt2")',
        call="model(*(torch.from_numpy(value) for value in {inputs}.values())).numpy()",
    ),
    "torch_cuda": RuntimeSnippet(
        imports="import torch",
        opening='model = torch._inductor.aoti_load_package("model.pt2")',
        call="model(*(torch.from_numpy(value).cuda() for value in {inputs}.values())).cpu().numpy()",
    ),
}
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
    package = "onnxruntime-gpu" if runtime == "onnxruntime_cuda" else runtime.partition("_")[0]
    code = _runtime_usage(runtime, texts, data.measurement.conditions["threads"], folder)
    return f"Needs {package}, numpy and tokenizers; run it in this folder:\n\n{code}"


def _runtime_usage(runtime: str, texts: str, threads: int, folder: Path) -> str:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    types = ', "token_type_ids": [encoded.type_ids]' if "token_type_ids" in settings["model_input_names"] else ""
    snippet = SNIPPETS[runtime]
    return RUNTIME_USAGE.format(
        texts=texts,
        types=types,
        imports=snippet.imports,
        opening=snippet.opening.format(threads=threads),
        call=snippet.call.format(inputs="{name: np.array(value) for name, value in inputs.items()}"),
    )
