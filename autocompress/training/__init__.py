"""Training: the loop, distillation, the super-net, least squares, fine-tuning, time fitting. Importing this brings no torch."""
