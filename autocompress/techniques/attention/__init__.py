"""Which attention layers compute, one decision a file."""
