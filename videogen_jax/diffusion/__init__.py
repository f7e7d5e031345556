"""The diffusion process: schedule, conversions, guidance and samplers, without any network."""
