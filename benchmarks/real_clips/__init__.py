"""Trains the flow, the refiner and the video decoder on real clips, and measures them.

docs/real-clips.md has the commands and the results.
"""
