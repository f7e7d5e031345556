"""Data: procedural shapes clips, real clips, latent caches, the Grain loader, degradations."""
