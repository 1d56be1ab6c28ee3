"""What is written beside an exported model: `measurement.json` for programs, and a model card, `README.md`, for people.

Neither holds a path, a host or user name, or a row of anyone's data; the teacher is named by its last name only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autocompress import __version__
from autocompress.core.measurement import Measurement, Quality, describe_operators
from autocompress.core.trial_row import TrialRow
from autocompress.runtimes import read_runtime_name
from autocompress.study import StudyView
from autocompress.study.trial_details import TrialDetails

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class CardData:
    """What a card is about: a trial of a study, in a form."""

    view: StudyView
    row: TrialRow
    details: TrialDetails
    form: str = "onnx"

    @property
    def teacher(self) -> str:
        """The teacher's base name: of its folder, or of its name on the hub."""
        return base_name(self.view.plan["teacher"]["model"])

    @property
    def metric(self) -> str:
        """The metric's name, without the path of a user's own module."""
        return base_name(self.view.plan["task"]["metric"])

    @property
    def pairs(self) -> bool:
        """Whether rows are pairs of texts."""
        return self.view.plan["task"]["columns"]["text_pair"] is not None

    @property
    def measurement(self) -> Measurement:
        """The measurement of a complete trial."""
        assert self.details.outcome.measurement is not None, "only complete trials are exported"
        return self.details.outcome.measurement


def base_name(text: str) -> str:
    """The last part of a path, a hub name or a package's folder; no more may be told of it."""
    return Path(text.rstrip("/\\").replace("\\", "/")).name.removesuffix(".py")


def measurement_json(about: CardData) -> str:
    """The JSON of `measurement.json`: the row, both qualities, the latency and the conditions of all that."""
    teacher, task = about.view.teacher, about.view.plan["task"]
    values = {
        "format_version": FORMAT_VERSION,
        "autocompress": __version__,
        "study": about.view.name,
        "trial": about.row.trial,
        "form": about.form,
        "artifact_sha256": about.row.sha256 if about.form == "onnx" else None,
        "task": {"kind": task["kind"], "metric": about.metric, "max_tokens": task["max_tokens"]},
        "teacher": {
            "model": about.teacher,
            **{name: getattr(teacher, name, None) for name in ("quality", "test_quality", "latency_ms", "size_mb")},
        },
        "row": about.row.as_json(),
        "measurement": about.measurement.as_dict(),
        "elsewhere": {device: seen.as_dict() for device, seen in about.details.outcome.other_devices.items()},
        "test": asdict(about.details.test) if about.details.test else None,
        "facts": about.details.outcome.facts,
    }
    return json.dumps(values, indent=2, allow_nan=False) + "\n"


def model_card(about: CardData, folder: Path) -> str:
    """The model card, in Markdown; `folder` holds the model already."""
    kind = about.view.plan["task"]["kind"]
    ran = about.measurement.conditions.get("operators")
    what = "The teacher itself" if about.row.trial == 0 else f"A smaller, faster version of `{about.teacher}`"
    parts = [
        f"# {about.view.name}, trial {about.row.trial}",
        f"{what} for {kind}: {about.row.describe()}. Made by autocompress {__version__}.",
        "## How good, how fast, how large",
        _numbers(about),
        _conditions(about),
        *([f"{describe_operators(ran)}. All of them: `measurement.json`."] if ran else []),
        *(_other_devices(device, seen, about.metric) for device, seen in about.details.outcome.other_devices.items()),
        "## How it was made",
        _making(about),
        "## Limits",
        _limits(about),
        "## Run it",
        _usage(about, folder),
        "## Check it",
        _check(about),
    ]
    return "\n\n".join(parts) + "\n"


def _numbers(about: CardData) -> str:
    row, teacher = about.row, about.view.teacher or about.row
    lines = [["", "this model", "teacher, fp32", "difference"], ["---"] * 4]
    for split, quality in (("test", about.details.test), ("validation", about.measurement.quality)):
        if quality is not None:
            reference = quality.quality + quality.drop
            name = f"{about.metric} on {split} ({quality.examples:,} rows)"
            lines.append([name, f"{quality.quality:.4f}", f"{reference:.4f}", _drop(quality)])
    low, high = row.speedup_interval or (1.0, 1.0)
    lines += [
        ["latency, median", f"{row.latency_ms:.3f} ms", f"{teacher.latency_ms:.3f} ms",
         f"{row.speedup:.2f}× as fast ({low:.2f} to {high:.2f})"],
        ["latency, 95th percentile", f"{row.latency_p95_ms:.3f} ms", f"{teacher.latency_p95_ms:.3f} ms", ""],
        ["size", f"{row.size_mb:.2f} MB", f"{teacher.size_mb:.2f} MB", f"{row.compression:.2f}× smaller"],
    ]  # fmt: skip
    further = {
        "peak memory": ("memory_mb", "MB"),
        "latency with cold caches": ("cold_ms", "ms"),
        "from opening to first logits": ("start_ms", "ms"),
        "throughput in large batches": ("throughput", "texts/s"),
    }
    for words, (name, unit) in further.items():
        own, other = getattr(row, name), getattr(teacher, name)
        if own is not None and other is not None:
            shown = (f"{value:,.0f}" if value >= 100 else f"{value:#.3g}" for value in (own, other))
            lines.append([words, *(f"{value} {unit}" for value in shown), ""])
    return _table(lines)


def _drop(quality: Quality) -> str:
    low, high = 100 * quality.drop_interval.low, 100 * quality.drop_interval.high
    return f"drop of {100 * quality.drop:.2f} points ({low:.2f} to {high:.2f})"


def _conditions(about: CardData) -> str:
    held = about.measurement.conditions
    tokens = "texts as long as the validation rows" if held["tokens"] == "data" else f"{held['tokens']} tokens"
    flags = ", ".join(held["cpu_flags"]) or "no telling instruction sets"
    noise = f" ({held['noise']})" if held.get("noise") else ""
    form = "" if about.form == "onnx" else " All numbers are of the ONNX form of this model, as it is deployed."
    return (
        f"Measured in {held['runtime']} {held['runtime_version']}, default session, {held['threads']} thread(s), batch "
        f"{held['batch']}, {tokens}, on {held['cpu']} ({flags}). Latency: {about.measurement.latency.blocks} blocks of "
        f"calls, each beside a block of the teacher's in the same process{noise}. Quality: the whole split, in the runtime. In "
        f"brackets: 95 % intervals, for quality from a bootstrap over the rows.{form}"
    )


def _other_devices(device: str, seen: Measurement, metric: str) -> str:
    held, latency = seen.conditions, seen.latency
    low, high = latency.speedup_interval.low, latency.speedup_interval.high
    quality = f"; {metric} on validation {seen.quality.quality:.4f}, {_drop(seen.quality)}" if seen.quality else ""
    return (
        f"On {device} ({held['cpu']}, {held['runtime']} {held['runtime_version']}, {held['threads']} thread(s), batch "
        f"{held['batch']}): {latency.p50_ms:.3f} ms, {latency.speedup:.2f}× as fast as the teacher there ({low:.2f} to "
        f"{high:.2f}){quality}."
    )


def _making(about: CardData) -> str:
    facts, recipe = about.details.outcome.facts, about.row.recipe.as_dict()
    lines = [["decision", "value"], ["---", "---"], *([name, _shown(value)] for name, value in recipe.items())]
    known = [f"{words}: {_shown(facts[key])}." for key, words in FACTS.items() if key in facts]
    origin = (
        "Layers, heads and neurons were chosen by measured importance and really removed; the rest was taught by "
        "distillation from the teacher on the study's training rows; bits were reduced after that."
    )
    text = (
        "It is the fp32 teacher that the other models of its study are compared with."
        if about.row.trial == 0
        else origin
    )
    return "\n\n".join([text, _table(lines), " ".join(known)]).rstrip()


FACTS = {
    "kept_layers": "Layers of the teacher that were kept, from 0",
    "heads": "Heads of each",
    "neurons": "Neurons of each",
    "parameters": "Parameters",
}


def _limits(about: CardData) -> str:
    tokens = about.view.plan["task"]["max_tokens"]
    tested = (
        "The validation rows chose this model among others, so trust the test rows."
        if about.details.test
        else "It was not measured on rows other than those that chose it."
    )
    return "\n".join(
        [
            f"- It knows the task and the kind of text it was trained on, and texts of up to {tokens} tokens; longer "
            "ones are cut.",
            "- What the teacher gets wrong, or treats unfairly, this model mostly does too; rare groups and labels may "
            "have lost more than the average says.",
            f"- {tested}",
            "- Other processors and runtimes are faster or slower by other factors, and round a little differently: "
            "measure there.",
        ]
    )


OPENING = {  # by runtime: the import, the lines that open the model, and the call that gives its logits
    "onnxruntime": (
        "import onnxruntime",
        "options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = {threads}\n"
        'session = onnxruntime.InferenceSession("model.onnx", options)',
        "session.run(None, {inputs})[0]",
    ),
    "onnxruntime_cuda": (
        "import onnxruntime",
        "options = onnxruntime.SessionOptions()\n"
        "options.intra_op_num_threads = {threads}\n"
        'providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]\n'
        'session = onnxruntime.InferenceSession("model.onnx", options, providers=providers)',
        "session.run(None, {inputs})[0]",
    ),
    "openvino": (
        "import openvino",
        'options = {{"INFERENCE_NUM_THREADS": {threads}}}\n'
        'model = openvino.Core().compile_model("model.onnx", "CPU", options)',
        "model({inputs})[0]",
    ),
    "openvino_static": (
        "import functools\nimport openvino",
        'core, options = openvino.Core(), {{"INFERENCE_NUM_THREADS": {threads}}}\n\n'
        "@functools.cache  # compiled when the first text of a length comes; pad texts, so that there are few\n"
        "def compiled(tokens):\n"
        '    model = core.read_model("model.onnx")\n'
        "    model.reshape({{name: [1, tokens] for name in model.inputs}})\n"
        '    return core.compile_model(model, "CPU", options)\n',
        "compiled(len(encoded.ids))({inputs})[0]",
    ),
    "torch": (
        "import torch",
        'torch.set_num_threads({threads})\nmodel = torch._inductor.aoti_load_package("model.pt2")',
        "model(*(torch.from_numpy(value) for value in {inputs}.values())).numpy()",
    ),
    "torch_cuda": (
        "import torch",
        'model = torch._inductor.aoti_load_package("model.pt2")',
        "model(*(torch.from_numpy(value).cuda() for value in {inputs}.values())).cpu().numpy()",
    ),
}
ONNX_USAGE = """```python
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


def _usage(about: CardData, folder: Path) -> str:
    texts = '"One text.", "The other text."' if about.pairs else '"A text to be told apart."'
    if about.form != "onnx":
        told = "With torch and transformers, which runs the code of this folder (`modeling_autocompress.py`):"
        return f"{told}\n\n{TRANSFORMERS_USAGE.format(texts=texts)}"
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    types = ', "token_type_ids": [encoded.type_ids]' if "token_type_ids" in settings["model_input_names"] else ""
    threads, runtime = about.measurement.conditions["threads"], read_runtime_name(folder)
    imports, opening, call = OPENING[runtime]
    usage = ONNX_USAGE.format(
        texts=texts,
        types=types,
        imports=imports,
        opening=opening.format(threads=threads),
        call=call.format(inputs="{name: np.array(value) for name, value in inputs.items()}"),
    )
    package = "onnxruntime-gpu" if runtime == "onnxruntime_cuda" else runtime.partition("_")[0]
    return f"With {package}, numpy and tokenizers, in this folder:\n\n{usage}"


def _check(about: CardData) -> str:
    recorded = " and that the model answers as recorded" if about.form == "onnx" else ""
    return (
        f"`sha256sum -c SHA256SUMS` checks the files; `autocompress verify .` checks that none was added{recorded}. "
        "`measurement.json` holds all that was measured."
    )


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return (
        f"{value:,}"
        if isinstance(value, int) and value >= 10_000
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
