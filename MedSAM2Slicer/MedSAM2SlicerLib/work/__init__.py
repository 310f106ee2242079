"""What is being segmented, and propagations through it."""
