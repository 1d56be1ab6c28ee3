"""The search space: domains of decisions, and the recipes that follow from them."""
