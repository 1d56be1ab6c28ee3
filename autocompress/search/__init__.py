"""Run a search: prepare the study, schedule trials, run them, evaluate finalists. The supervisor imports no torch."""
