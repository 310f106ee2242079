"""Along which axes of a volume a propagation follows its objects, by name. Imports nothing heavy."""

from __future__ import annotations

ONE, THREE = "one", "three"
"""The axis of the slices that prompts are on; or all three, one after the other (`crossing`). What three axes gave
together has the direction "three"."""

AXES = {ONE: 1, THREE: 3}
"""How many axes that is."""
