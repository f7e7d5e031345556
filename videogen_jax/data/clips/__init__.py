"""Real clips: from files to shards, and from shards to windows of frames."""
