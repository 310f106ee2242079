"""Which ways through a volume a propagation follows its objects, by name. Imports nothing heavy."""

from __future__ import annotations

STEPS = {"forward": 1, "backward": -1}
"""From slice to slice along an axis, by direction."""

ONE, THREE = "one", "three"
"""The axis of the slices that prompts are on; or all three, one after the other (`crossing`). What three axes gave
together has the direction "three"."""

AXES = {ONE: 1, THREE: 3}
"""How many axes that is."""
