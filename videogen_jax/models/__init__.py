"""The networks, as Linen modules: one per file, with its parts first."""
