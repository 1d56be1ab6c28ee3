"""One action per file: what a user does with a study, an exported folder or this machine."""
