"""From a trained candidate to an artifact: a folder that runs by itself."""
