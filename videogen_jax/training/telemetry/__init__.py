"""What a run tells of itself: numbers, speed, memory, traces."""
