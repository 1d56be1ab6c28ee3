"""The command line, the rendering of results, and the dashboard. Importing this package imports no torch."""
