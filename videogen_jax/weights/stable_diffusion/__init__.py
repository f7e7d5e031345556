"""Conversion of Stable Diffusion weights from all their formats, and export to diffusers."""
