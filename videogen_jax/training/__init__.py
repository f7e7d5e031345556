"""Training: the loop, the step, and one task for each part of the model."""
