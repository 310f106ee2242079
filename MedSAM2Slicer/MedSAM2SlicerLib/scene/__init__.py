"""What the scene holds: volumes, segmentations, and what other tools do to them."""
