"""The compression decisions: one file each, in folders by kind. The files directly in this folder support them.

`stages.py` declares the hooks of each stage, `building.py` builds a candidate from a recipe, and `probing.py` finds the values
that a runtime can run. An entry's file imports neither torch nor numpy at its top; its name is the name of the decision.
"""
