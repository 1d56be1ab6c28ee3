"""Export a trained candidate: as an artifact for a runtime, or in the transformers form."""
