"""Pages and sheets that show what is in a dataset."""
