"""Will it fit: a step compiled for devices that are not there."""
