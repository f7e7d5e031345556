"""Training: one loop, one step, one task per part of the model."""
