"""The commands that sample and evaluate."""
