"""Latent caches: filling one, and opening it for a run."""
