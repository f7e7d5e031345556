"""Model directories: configuration, components, and conversion from and to other libraries."""
