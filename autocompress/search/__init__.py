"""A search: what it prepares, schedules, runs and evaluates. The supervisor's half brings no torch."""
