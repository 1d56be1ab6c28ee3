"""Turn a trained candidate into an artifact: a folder with the model and all that is needed to run it in a default session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

from autocompress.core import registry
from autocompress.core.recipe import AFTER_RECOVERY, NEUTRAL, Recipe
from autocompress.deployment.companion_files import write_companion_files
from autocompress.deployment.model_export import export_graph, export_program
from autocompress.formats.onnx_simplification import simplify_graph
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT, TargetFormat
from autocompress.models.candidate import Candidate
from autocompress.tasks import ModelInterface

Rows = Callable[[], Iterable[Mapping[str, np.ndarray]]]

VERSION = 1
CHECK_SHAPES = ((1, 8), (1, 32), (2, 17))  # (batch, tokens) of the outputs recorded in check.npz


def deploy(
    candidate: Candidate,
    tokenizer: Any,
    interface: ModelInterface,
    runtime: str,
    folder: Path,
    rows: Rows = lambda: (),
) -> None:
    """Write the artifact of a candidate to `folder`: model, config, tokenizer, recipe, and a record of its outputs.

    `rows` returns inputs of some training rows; it is called only where the runtime needs the ranges of activations.
    """
    module = registry.load("runtimes", runtime)
    reads_types = interface.has_pairs and "token_type_ids" in tokenizer.model_input_names
    inputs = replace(interface, has_pairs=reads_types)
    if module.TARGET_FORMAT.program:
        program = export_program(candidate, inputs)
        _apply_decisions(candidate.recipe, lambda technique, value: technique.apply_program(program, value))
        program.compile(folder / "model.pt2", module.TARGET_FORMAT.program)
    else:
        graph = export_graph(candidate, inputs)
        simplify_graph(graph)
        quantize_graph(graph, candidate.recipe, module.TARGET_FORMAT, rows)
        onnx.save(graph, folder / "model.onnx")
    write_companion_files(candidate, tokenizer, interface, folder, runtime)
    _write_check(candidate, module, interface.output, folder)


def quantize_graph(
    graph: onnx.ModelProto, recipe: Recipe, target_format: TargetFormat = ONNXRUNTIME_FORMAT, rows: Rows = lambda: ()
) -> None:
    """Apply the decisions of `AFTER_RECOVERY` to a graph in place."""
    if target_format.static and recipe.weight_bits == 8:
        ranges = registry.load("techniques", "weight_bits").measure_activation_ranges(graph, rows())
        target_format = replace(target_format, ranges=ranges)
    _apply_decisions(recipe, lambda technique, value: technique.apply(graph, value, target_format))


def _apply_decisions(recipe: Recipe, apply: Callable[[ModuleType, Any], None]) -> None:
    """Apply the decisions of `AFTER_RECOVERY` in the order of the fields of `Recipe`; neutral ones change nothing."""
    for decision in AFTER_RECOVERY:
        value = recipe.as_dict()[decision]
        if value != NEUTRAL[decision]:
            apply(registry.load("techniques", decision), value)


def _write_check(candidate: Candidate, runtime: Any, output: str, folder: Path) -> None:
    """Record seeded random token ids and their outputs on this machine, for `verify` to compare with; never a user's rows."""
    rng = np.random.default_rng(0)
    session = runtime.open_session(folder, threads=1)
    arrays: dict[str, np.ndarray] = {}
    for index, shape in enumerate(CHECK_SHAPES):
        ids = rng.integers(0, candidate.model.config.vocab_size, shape)
        ones = np.ones_like(ids)
        arrays[f"input_ids_{index}"] = ids
        arrays[f"{output}_{index}"] = session.run(
            {"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0}
        )
    np.savez(folder / "check.npz", **arrays)  # type: ignore[arg-type]  # the stub takes the names for options
