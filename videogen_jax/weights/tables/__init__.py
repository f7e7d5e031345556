"""What Stable Diffusion's weights are called: one table per network."""
