"""Measures and reports of models of the procedural shapes."""
