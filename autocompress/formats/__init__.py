"""What a model is exported as: ONNX graphs, PyTorch programs, what a runtime can express. Importing this brings no torch."""
