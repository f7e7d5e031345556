"""The sampling pipeline: conditioning, the cascade, temporal super-resolution, decoding."""
