"""Export formats: ONNX graphs, PyTorch programs, and the format of each runtime. This file imports no torch."""
