"""What a user does with a study, an exported folder or this machine, one action a file."""
