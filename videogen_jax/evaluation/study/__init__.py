"""The user study of §4.4: a page that compares two folders of videos, and its tally."""
