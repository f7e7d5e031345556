"""Planning a run: its train step compiled for devices that are not present."""
