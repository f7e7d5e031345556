"""The commands that train, and those that make what training reads."""
