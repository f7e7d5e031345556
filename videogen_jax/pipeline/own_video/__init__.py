"""The video networks on one's own videos, of any length: interpolation and restoration."""
