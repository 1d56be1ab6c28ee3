"""Families, attentions, the forward pass, importance, slicing, candidates, the teacher. This file imports no torch."""
