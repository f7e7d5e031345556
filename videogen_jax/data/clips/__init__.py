"""Real clips: transcoding of files to shards, and reading of windows of frames from shards."""
