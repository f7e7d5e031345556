"""Runs: what one sets, its directory, its examples, and the recipe of the shipped model."""
