"""Makes the Segment Editor effect known to Slicer. Nothing of it is built before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import MedSAM2SlicerLib
from MedSAM2SlicerLib.prompts.promptviews import promptViews

_SOURCE = Path(__file__).resolve().parent / "SegmentEditorEffect.py"


def register() -> None:
    """Offer the effect in every Segment Editor, and lock prompts of scenes loaded before anybody uses it."""
    promptViews()
    makeEffect().self().register()


def makeEffect() -> Any:
    """Make a `qSlicerSegmentEditorScriptedEffect` that hands on to `SegmentEditorEffect`."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    from MedSAM2SlicerLib.SegmentEditorEffect import SegmentEditorEffect

    # Slicer looks for the class in the module called like the file's folder, which is this package. If it were not
    # there, Slicer would load the file alone and put it in the package's place.
    MedSAM2SlicerLib.SegmentEditorEffect = SegmentEditorEffect  # type: ignore[assignment]
    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    effect.setPythonSource(_SOURCE.as_posix())
    return effect
