"""Readers of the sources of ingestion: lists, folders and published datasets."""
