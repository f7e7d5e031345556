"""Requests: the checked options of one call, completed with the model's own values."""
