"""Families, blocks, attentions, the forward pass, importance, candidates, the teacher. This file imports no torch."""
