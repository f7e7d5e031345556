"""Runs: their configuration, their directory, what they train on, and the recipe of the shipped model."""
