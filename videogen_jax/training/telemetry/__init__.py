"""Telemetry of a run: metrics, speed, memory and traces."""
