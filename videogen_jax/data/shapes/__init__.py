"""The procedural shapes data: clips of moving shapes, their captions, and sources of examples."""
