"""Sets of images: where they are in the scene, their prompts, and what the model answers to all of them."""
