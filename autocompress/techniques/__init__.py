"""One file per compression decision; the file's name is the field of `Recipe`.

Every file has a `VERSION`. Raise it when the code builds another model from the same recipe.

A structural decision has `apply(candidate, value, importance)`, which runs before training. A decision of
`recipe.AFTER_RECOVERY` runs on the trained candidate: `apply(graph, value, target_format)` on its exported ONNX graph or
`apply_program(program, value)` on its PyTorch program.
"""
