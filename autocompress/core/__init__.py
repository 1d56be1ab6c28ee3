"""Values and words of the whole package: no torch, no database, nothing heavy."""
