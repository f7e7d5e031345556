"""Runs on several processes: connecting them, losing one, and stopping at a signal."""
