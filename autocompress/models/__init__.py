"""Models: families, attentions, the forward pass, importance, slicing, the teacher. Importing this package brings no torch."""
