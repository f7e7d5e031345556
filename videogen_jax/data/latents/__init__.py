"""Caches of latents and text states: the files, and the source that reads them."""
