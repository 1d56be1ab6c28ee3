"""PyTorch programs: a model as a graph of tensor operations for inputs of any size, rewritten and compiled ahead of time.

What deployment to the runtimes `torch` and `torch_cuda` works on, as `graph` is for ONNX.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from autocompress.core.errors import AutocompressError

MOST_ROWS = 65536
CHECKS = ("_guards_fn", "_assert_tensor_metadata")  # of inputs, at each call: a session gives the right ones
PRODUCTS = (torch.ops.aten.linear.default, torch.ops.aten.matmul.default)


class TorchProgram:
    """A traced module: inputs (batch, sequence) int64, output logits (batch, labels)."""

    def __init__(self, module: nn.Module, inputs: int, most_tokens: int) -> None:
        self._inputs, self._most_tokens = inputs, most_tokens
        self._module = self._traced(module)
        for node in list(self._module.graph.nodes):
            if any(name in str(node.target) for name in CHECKS):
                self._module.graph.erase_node(node)

    def constant(self, node: Any) -> Tensor | None:
        """The value of a node that is a weight; null where it is none."""
        if not isinstance(node, fx.Node) or node.op != "get_attr":
            return None
        value: Any = self._module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return value.detach() if isinstance(value, Tensor) else None

    def weight(self, node: fx.Node) -> Tensor | None:
        """The constant (rows, columns) that a node's first argument is multiplied by; null where it is no such product."""
        if node.target not in PRODUCTS:
            return None
        found = self.constant(node.args[1])
        if found is None or found.ndim != 2:
            return None
        return found.T if node.target is PRODUCTS[0] else found

    def rewrite(self, change: Callable[[fx.Node], tuple[Callable[..., Any], tuple[Any, ...]] | None]) -> None:
        """Put what `change` gives, a function and its arguments, in the place of nodes; tensors become weights."""
        graph = self._module.graph
        for node in list(graph.nodes):
            found = change(node) if node.op == "call_function" else None
            if found is None:
                continue
            act, arguments = found
            with graph.inserting_before(node):
                given = [
                    self._add(f"{node.name}_{place}", value) if isinstance(value, Tensor) else value
                    for place, value in enumerate(arguments)
                ]
                node.replace_all_uses_with(graph.call_function(act, tuple(given)))
            graph.erase_node(node)

    def run(self, *inputs: Tensor) -> Tensor:
        """Its output, without compiling it."""
        self._module.recompile()
        with torch.no_grad():
            found: Tensor = self._module(*inputs)
        return found

    def compile(self, path: Path, device: str = "cpu") -> None:
        """Write it as a package that PyTorch runs without tracing or compiling (AOTInductor). The package holds native code for
        this processor.

        AutocompressError where there is no C++ compiler.
        """
        self._module.graph.eliminate_dead_code()
        if device == "cpu":
            torch._inductor.cpu_vec_isa.pick_vec_isa()  # by trial compilations, which are kept for the next process: 12 s
        module = fx.GraphModule(self._module, self._module.graph).to(device)
        with _folder_for_code() as folder, torch.no_grad():
            exported = self._exported(module, device)
            for node in exported.graph.nodes:
                node.meta.pop("stack_trace", None)  # lines of our own files, which would stand in the package
            settings = {
                "freezing": True,  # matrices are packed beforehand: half the time of a pass
                "cpp.dynamic_threads": True,  # as many as are set when it runs
                "cpp.enable_kernel_profile": True,  # kernels have names in a profile
                "compile_threads": 1,
            }
            try:
                torch._inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs=settings)
                _anonymize(path, [folder, str(Path(torch.__file__).parents[1])])
            except Exception as error:
                if "compiler" not in str(error).lower():
                    raise
                raise AutocompressError(
                    "PyTorch found no working C++ compiler, which the runtime torch needs; install g++, or use another runtime"
                ) from error

    def _traced(self, module: nn.Module) -> fx.GraphModule:
        with torch.no_grad():
            found = self._exported(module, "cpu").module()
        assert isinstance(found, fx.GraphModule)
        return found

    def _exported(self, module: nn.Module, device: str) -> torch.export.ExportedProgram:
        """Traced on a small batch, with both sizes left free."""
        batch = torch.export.Dim("batch", min=1, max=MOST_ROWS)
        sequence = torch.export.Dim("sequence", min=1, max=self._most_tokens)
        example = tuple(torch.ones(2, 9, dtype=torch.int64, device=device) for _ in range(self._inputs))
        sizes = tuple({0: batch, 1: sequence} for _ in example)
        return torch.export.export(module, example, dynamic_shapes=sizes, strict=False)

    def _add(self, name: str, value: Tensor) -> fx.Node:
        self._module.register_buffer(name, value.contiguous())
        return self._module.graph.get_attr(name)


def _anonymize(package: Path, folders: Sequence[str]) -> None:
    """Take the sources out of a package, which hold the compiler's command line, and the names of folders out of its code,
    which its error messages would tell."""
    with zipfile.ZipFile(package) as before:
        kept = {
            entry.filename: before.read(entry) for entry in before.infolist() if not entry.filename.endswith(".cpp")
        }
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as after:
        for name, content in kept.items():
            nameless = content
            for folder in map(str.encode, folders):
                nameless = nameless.replace(folder, b"." * len(folder))
            after.writestr(zipfile.ZipInfo(name), nameless)  # without a date: equal models are equal files


@contextmanager
def _folder_for_code() -> Iterator[str]:
    """Where the compiler works."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        try:
            yield folder
        finally:
            if before is None:
                del os.environ["TORCHINDUCTOR_CACHE_DIR"]
            else:
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = before
