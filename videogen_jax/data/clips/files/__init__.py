"""One video file: its frames, their times, and the clip that is made of them."""
