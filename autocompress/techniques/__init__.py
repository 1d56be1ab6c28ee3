"""One file per compression decision; the file's name is the field of `Recipe`.

Every file has `VERSION`, raised when its code makes another model of the same recipe.

A structural decision has `apply(candidate, value, importance)`, run before recovery. A decision of
`recipe.AFTER_RECOVERY` has `apply(graph, value)`, run on the exported ONNX graph of the trained candidate.
"""
