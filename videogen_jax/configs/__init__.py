"""The models and runs that come with the library, by name."""
