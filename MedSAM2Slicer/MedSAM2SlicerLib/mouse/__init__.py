"""What the mouse does in slice views."""
