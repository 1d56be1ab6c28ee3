"""The training loop, distillation, the super-net, least squares, fine-tuning, time fitting. This file imports no torch."""
