"""The model's process, as Slicer sees it."""
