"""The losses of the tasks."""
