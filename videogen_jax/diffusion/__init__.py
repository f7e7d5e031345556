"""The diffusion process: schedule, conversions, guidance and samplers; no network in here."""
