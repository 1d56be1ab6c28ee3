"""Export formats: ONNX graphs, PyTorch programs, and what each runtime can express. This file imports no torch."""
