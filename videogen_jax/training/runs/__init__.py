"""Runs: their configuration, directory and examples, and the recipe of the shipped model."""
