"""Checkpoints: saving, checking, finding and reading them."""
