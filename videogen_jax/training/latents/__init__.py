"""Latent caches: creating one, and opening it for a run."""
