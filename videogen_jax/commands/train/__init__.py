"""The commands that train, and those that prepare training data."""
