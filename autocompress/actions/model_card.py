"""Write the model card, `README.md`, of an exported model, for people.

It holds no path, host name, user name or row of the user's data; the teacher appears by its base name only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from autocompress import __version__
from autocompress.actions.card_data import CardData
from autocompress.actions.usage_snippets import format_usage
from autocompress.core.composed_speedup import ComposedSpeedup
from autocompress.core.measurement import Measurement, Quality, describe_operators
from autocompress.models.families import load_family
from autocompress.models.model_config import describe_unknown_family

FACTS = {  # key of a trial's facts -> its name in a card
    "kept_layers": "Kept layers of the teacher, counted from 0",
    "heads": "Heads per layer",
    "neurons": "Neurons per layer",
    "parameters": "Parameters",
}
FURTHER_NUMBERS = {  # name in a card -> field of a trial's row, unit
    "peak memory": ("memory_mb", "MB"),
    "latency with cold caches": ("cold_ms", "ms"),
    "time from opening to first logits": ("start_ms", "ms"),
    "time from a text to its label, tokenizer included": ("text_ms", "ms"),
    "download, tokenizer included": ("download_mb", "MB"),
    "throughput in large batches": ("throughput", "texts/s"),
}


def model_card(data: CardData, folder: Path) -> str:
    """Return the model card in Markdown; `folder` holds the model already."""
    kind = data.view.plan["task"]["kind"]
    operators = data.measurement.conditions.get("operators")
    title = "The teacher itself" if data.row.trial == 0 else f"A smaller, faster version of `{data.teacher}`"
    other_devices = data.details.outcome.other_devices
    parts = [
        f"# {data.view.name}, trial {data.row.trial}",
        f"{title} for {kind}: {data.row.describe()}. Made by autocompress {__version__}.",
        "## Quality, speed and size",
        _format_numbers(data),
        _format_conditions(data),
        *([f"{describe_operators(operators)}. `measurement.json` lists all of them."] if operators else []),
        *(_format_other_device(device, measured, data.metric) for device, measured in other_devices.items()),
        "## How it was made",
        _format_origin(data),
        "## Limits",
        _format_limits(data, folder),
        "## Run it",
        format_usage(data, folder),
        "## Check it",
        _format_check(data),
    ]
    return "\n\n".join(parts) + "\n"


def _format_numbers(data: CardData) -> str:
    """Return the table of all measured numbers beside the teacher's."""
    row, teacher = data.row, data.view.teacher or data.row
    low, high = row.speedup_interval or (1.0, 1.0)
    return _format_table(
        [
            ["", "this model", "teacher, fp32", "difference"],
            ["---"] * 4,
            *_quality_lines(data),
            ["latency, median", f"{row.latency_ms:.3f} ms", f"{teacher.latency_ms:.3f} ms",
             f"{row.speedup:.2f}× as fast ({low:.2f} to {high:.2f})"],
            ["latency, 95th percentile", f"{row.latency_p95_ms:.3f} ms", f"{teacher.latency_p95_ms:.3f} ms", ""],
            ["size", f"{row.size_mb:.2f} MB", f"{teacher.size_mb:.2f} MB", f"{row.compression:.2f}× smaller"],
            *_further_lines(data),
        ]
    )  # fmt: skip


def _quality_lines(data: CardData) -> list[list[str]]:
    lines = []
    for split, quality in (("test", data.details.test), ("validation", data.measurement.quality)):
        if quality is not None:
            reference = quality.quality + quality.drop
            name = f"{data.metric} on {split} ({quality.examples:,} rows)"
            lines.append([name, f"{quality.quality:.4f}", f"{reference:.4f}", _format_drop(quality)])
    return lines


def _further_lines(data: CardData) -> list[list[str]]:
    """Return the lines of numbers that both this model and the teacher have."""
    teacher, lines = data.view.teacher or data.row, []
    for name, (field, unit) in FURTHER_NUMBERS.items():
        values = [getattr(row, field) for row in (data.row, teacher)]
        if None not in values:
            cells = [f"{value:,.0f}" if value >= 100 else f"{value:#.3g}" for value in values]
            lines.append([name, *(f"{cell} {unit}" for cell in cells), ""])
    return lines


def _format_drop(quality: Quality) -> str:
    low, high = 100 * quality.drop_interval.low, 100 * quality.drop_interval.high
    return f"drop of {100 * quality.drop:.2f} points ({low:.2f} to {high:.2f})"


def _format_conditions(data: CardData) -> str:
    conditions = data.measurement.conditions
    tokens = (
        "texts as long as the validation rows" if conditions["tokens"] == "data" else f"{conditions['tokens']} tokens"
    )
    flags = ", ".join(conditions["cpu_flags"]) or "no special instruction sets"
    noise = f" ({conditions['noise']})" if conditions.get("noise") else ""
    composed = ComposedSpeedup.from_conditions(conditions)
    beside = "the teacher" if composed is None else "a small model, the timing reference,"
    ratios = f" The speed-up is the product of two ratios: {composed.describe()}." if composed else ""
    form = "" if data.form == "onnx" else " All numbers are of the ONNX form of this model, which was measured."
    return (
        f"Measured in {conditions['runtime']} {conditions['runtime_version']}, default session, "
        f"{conditions['threads']} thread(s), batch {conditions['batch']}, {tokens}, on {conditions['cpu']} ({flags}). "
        f"Latency: {data.measurement.latency.blocks} blocks of calls, each beside a block of {beside} in the same "
        f"process{noise}.{ratios} Quality: all rows of the split, predicted in the runtime. Brackets hold 95 % intervals; "
        f"those of quality come from a bootstrap over the rows.{form}"
    )


def _format_other_device(device: str, measured: Measurement, metric: str) -> str:
    conditions, latency = measured.conditions, measured.latency
    low, high = latency.speedup_interval.low, latency.speedup_interval.high
    quality = ""
    if measured.quality:
        quality = f"; {metric} on validation {measured.quality.quality:.4f}, {_format_drop(measured.quality)}"
    return (
        f"On {device} ({conditions['cpu']}, {conditions['runtime']} {conditions['runtime_version']}, "
        f"{conditions['threads']} thread(s), batch {conditions['batch']}): {latency.p50_ms:.3f} ms, "
        f"{latency.speedup:.2f}× as fast as the teacher on that device ({low:.2f} to {high:.2f}){quality}."
    )


def _format_origin(data: CardData) -> str:
    """Return how the model was made: its recipe, and the structure that resulted."""
    facts, recipe = data.details.outcome.facts, data.row.recipe.as_dict()
    table = [["decision", "value"], ["---", "---"], *([name, _format_value(value)] for name, value in recipe.items())]
    structure = [f"{name}: {_format_value(facts[key])}." for key, name in FACTS.items() if facts.get(key)]
    if data.row.trial == 0:
        origin = "It is the fp32 teacher that the other models of its study are compared with."
    else:
        origin = (
            "The least important layers, heads and neurons were removed; the rest was distilled from the teacher on the "
            "study's training rows; then the weights were stored in fewer bits. The recipe says how much of each."
        )
    return "\n\n".join([origin, _format_table(table), " ".join(structure)]).rstrip()


def _format_limits(data: CardData, folder: Path) -> str:
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type", "")
    is_whole = not load_family(model_type).is_known
    tokens = data.view.plan["task"]["max_tokens"]
    tested = (
        "The validation rows were used to choose this model, so rely on the test rows."
        if data.details.test
        else "It was not measured on rows other than those that were used to choose it."
    )
    return "\n".join(
        [
            f"- It was trained for one task and one kind of text, up to {tokens} tokens; longer texts are cut.",
            "- It repeats most errors and unfair treatment of its teacher; rare groups and labels may have lost more "
            "quality than the average.",
            f"- {tested}",
            "- On other processors and runtimes the speed-up differs and outputs round slightly differently: measure "
            "there.",
            *([f"- {describe_unknown_family(model_type)}."] if is_whole else []),
            *(f"- The teacher: {warning.finding}. A drop against it says little." for warning in data.view.warnings),
        ]
    )


def _format_check(data: CardData) -> str:
    outputs = ", and that the model gives the recorded outputs" if data.form == "onnx" else ""
    return (
        "`sha256sum -c SHA256SUMS` checks the files. `autocompress verify .` also checks that no file was "
        f"added{outputs}. `measurement.json` holds all measurements."
    )


def _format_table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _format_value(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
