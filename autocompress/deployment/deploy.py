"""Turn a trained candidate into an artifact: a folder with the model and all that is needed to run it in a default session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from autocompress.core.recipe import Recipe
from autocompress.deployment.companion_files import write_companion_files
from autocompress.deployment.model_export import export_graph, export_program
from autocompress.formats.onnx_simplification import simplify_graph
from autocompress.formats.target_format import ONNXRUNTIME_FORMAT, TargetFormat
from autocompress.models.candidate import Candidate
from autocompress.runtimes import RUNTIMES, Runtime
from autocompress.tasks import ModelInterface
from autocompress.techniques.stages import ExportContext, ExportTechnique, active_of

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
    used = RUNTIMES.load(runtime)
    reads_types = interface.has_pairs and "token_type_ids" in tokenizer.model_input_names
    inputs = replace(interface, has_pairs=reads_types)
    if used.target_format.program:
        program = export_program(candidate, inputs)
        for technique, value in active_of(candidate.recipe, ExportTechnique):
            technique.apply_program(program, value)
        program.compile(folder / "model.pt2", used.target_format.program)
    else:
        graph = export_graph(candidate, inputs)
        if candidate.family.is_known:
            simplify_graph(graph)  # made for the graphs of `Forward`
        apply_exports(graph, candidate.recipe, used.target_format, rows)
        onnx.save(graph, folder / "model.onnx")
    write_companion_files(candidate, tokenizer, interface, folder, runtime)
    _write_check(candidate, used, interface.output, folder)


def apply_exports(
    graph: onnx.ModelProto, recipe: Recipe, target_format: TargetFormat = ONNXRUNTIME_FORMAT, rows: Rows = lambda: ()
) -> None:
    """Apply the decisions of a recipe about export to a graph in place."""
    for technique, value in active_of(recipe, ExportTechnique):
        technique.apply(graph, value, ExportContext(target_format, rows))


def _write_check(candidate: Candidate, runtime: Runtime, output: str, folder: Path) -> None:
    """Record seeded random token ids and their outputs on this machine, for `verify` to compare with; never a user's rows."""
    rng = np.random.default_rng(0)
    session = runtime.open_session(folder, 1)
    arrays: dict[str, np.ndarray] = {}
    for index, shape in enumerate(CHECK_SHAPES):
        ids = rng.integers(0, candidate.model.config.vocab_size, shape)
        ones = np.ones_like(ids)
        arrays[f"input_ids_{index}"] = ids
        arrays[f"{output}_{index}"] = session.run(
            {"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0}
        )
    np.savez(folder / "check.npz", **arrays)  # type: ignore[arg-type]  # the stub takes the names for options
