"""What people and programs see: the command line, how results are shown, the dashboard. Importing this brings no torch."""
