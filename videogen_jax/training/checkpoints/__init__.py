"""Checkpoints: saving, verifying, finding and reading them."""
