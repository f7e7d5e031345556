"""The procedural shapes data: a world of moving shapes, its captions, its sources of examples."""
