"""How a prompt's markup looks, and whether it can be grabbed. What the user chose of it is left alone.

A node notes in attributes what was done to it, so that only that is undone, in another session too.
"""

from __future__ import annotations

import slicer

from medsam2_core.image.segments import Color

# A cross and a ball: the color is the segment's for both.
_GLYPHS = {"include": "Sphere3D", "exclude": "Cross2D", "scribble": "Sphere3D", "scribbleOut": "Cross2D"}
_SCRIBBLES = ("scribble", "scribbleOut")
_HIDDEN, _LOCKED = "MedSAM2.Hidden", "MedSAM2.Locked"
_COLOR, _NAME = "MedSAM2.Color", "MedSAM2.SegmentName"


def lock(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Let nobody drag a markup, unless somebody unlocked it after this had locked it."""
    if node.GetAttribute(_LOCKED) is None and not node.GetLocked():
        node.SetAttribute(_LOCKED, "1")
        node.SetLocked(True)


def unlock(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Undo what `lock` did."""
    if node.GetAttribute(_LOCKED) is not None:
        node.RemoveAttribute(_LOCKED)
        node.SetLocked(False)


def hide(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Hide a markup, unless somebody showed it after this had hidden it."""
    if node.GetAttribute(_HIDDEN) is None and node.GetDisplayVisibility():
        node.SetAttribute(_HIDDEN, "1")
        node.SetDisplayVisibility(False)


def show(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Undo what `hide` did."""
    if node.GetAttribute(_HIDDEN) is not None:
        node.RemoveAttribute(_HIDDEN)
        node.SetDisplayVisibility(True)


def style(node: slicer.vtkMRMLMarkupsNode, kind: str) -> None:
    """Give a new markup the looks of its kind."""
    display = node.GetDisplayNode()
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    if kind in _GLYPHS:
        display.SetGlyphTypeFromString(_GLYPHS[kind])
    if kind == "box":
        display.SetFillVisibility(False)
    if kind in _SCRIBBLES:
        node.SetCurveTypeToLinear()
        display.SetGlyphScale(display.GetGlyphScale() / 2)


def dress(node: slicer.vtkMRMLMarkupsNode, segment: slicer.vtkSegment) -> None:
    """Let a markup have its segment's color and name."""
    paint(node, segment.GetColor())
    rename(node, segment.GetName())


def paint(node: slicer.vtkMRMLMarkupsNode, color: Color) -> None:
    """Give a markup its segment's color, a lighter one under the mouse; once for each color that the segment gets."""
    text, display = " ".join(f"{part:.4f}" for part in color), node.GetDisplayNode()
    if display is None or node.GetAttribute(_COLOR) == text:
        return
    node.SetAttribute(_COLOR, text)
    display.SetSelectedColor(*color)
    display.SetColor(*color)
    display.SetActiveColor(*((1 + part) / 2 for part in color))


def rename(node: slicer.vtkMRMLMarkupsNode, name: str) -> None:
    """Let a markup and its points, named after a segment, take the segment's present name."""
    before = node.GetAttribute(_NAME)
    if before == name:
        return
    node.SetAttribute(_NAME, name)
    if before is None:
        return
    if node.GetName().startswith(f"{before} "):
        node.SetName(f"{name}{node.GetName().removeprefix(before)}")
    for place in range(node.GetNumberOfControlPoints()):
        label = node.GetNthControlPointLabel(place)
        if label.startswith(f"{before} "):
            node.SetNthControlPointLabel(place, f"{name}{label.removeprefix(before)}")
