"""Stable Diffusion weights: from every form of them, and back to diffusers."""
