"""From a prompt to a video: conditioning, the cascade, temporal super-resolution, the result."""
