"""Prompts in the scene: nodes, their place on slices, and how they look."""
