"""The networks, as Linen modules: one file each, top = parts, bottom = whole."""
