"""Segments through the frames of a sequence of volumes, and their volumes over time."""
