"""Attention for each platform, length and dtype, behind one function."""
