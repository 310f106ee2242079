"""A run: its prompts placed in the volume, its settings and its report, whoever starts it."""
