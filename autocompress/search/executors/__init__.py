"""Where the jobs of a search run, one way a file."""
