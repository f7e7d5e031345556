"""The commands that convert weights."""
