"""Latents and text states encoded once: the files, and the source that reads them."""
