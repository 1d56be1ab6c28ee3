"""The search space: domains of decisions, their parsing, and the recipes that a search tries first."""
