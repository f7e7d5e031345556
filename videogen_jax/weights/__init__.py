"""Model directories: their configuration, their components, and conversion from other libraries."""
