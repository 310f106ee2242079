"""The prompts of a set: markups in the scene, each tied to an image and an object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import slicer
import slicer.util
import vtk

from medsam2_core.image.segments import Color, Segment
from medsam2_core.run.prompts import MaskPrompt, Prompt, RunObject, merge_points
from MedSAM2SlicerLib.images.imageset import Images
from MedSAM2SlicerLib.images.setrun import absentIn, freeColor, objectsOf
from MedSAM2SlicerLib.prompts import promptlooks
from MedSAM2SlicerLib.prompts.placing import PromptPlacer

_CLASSES = {
    "include": "vtkMRMLMarkupsFiducialNode",
    "exclude": "vtkMRMLMarkupsFiducialNode",
    "box": "vtkMRMLMarkupsROINode",
    "absent": "vtkMRMLMarkupsFiducialNode",  # of no points: it says that the object is not in the image
}
_KIND, _OBJECT = "MedSAM2.ImageKind", "MedSAM2.ImageObject"


class ImagePrompts:
    """Finds and makes the markups of a set; they are saved with the scene."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def nodeToPlace(self, index: int, name: str, kind: str) -> slicer.vtkMRMLMarkupsNode:
        """Return the markup that the next prompt goes into: for a box another one, which once it is placed is kept."""
        found = None if kind == "box" else next(self._nodes(index, name, kind), None)
        self.setAbsent(index, name, isAbsent=False)
        return found or self._make(index, name, kind)

    def move(self, node: slicer.vtkMRMLMarkupsNode, pointId: str, index: int | None) -> slicer.vtkMRMLMarkupsNode:
        """Have what was just placed, a box or a point of a list, be in another image, or in none.

        Returns the markup that it is in, or the one that it was in.
        """
        name, kind = node.GetAttribute(_OBJECT), node.GetAttribute(_KIND)
        if kind == "box":
            self._moveBox(node, name, index)
            return node
        target = node if index is None else self.nodeToPlace(index, name, kind)
        point = node.GetNthControlPointIndexByID(pointId)
        if target is not node:
            target.AddControlPointWorld(vtk.vtkVector3d(*node.GetNthControlPointPositionWorld(point)))
        node.RemoveNthControlPoint(point)
        if target is not node and not node.GetNumberOfDefinedControlPoints():
            _forget(node)
        return target

    def keepBox(self, boxNode: slicer.vtkMRMLMarkupsROINode) -> None:
        """Of the boxes of an object in an image keep this one, which was drawn last."""
        place = self.placeOf(boxNode)
        for node in () if place is None else self._nodes(*place, "box"):
            if node is not boxNode:
                slicer.mrmlScene.RemoveNode(node)

    def setAbsent(self, index: int, name: str, isAbsent: bool) -> None:
        """Say that an object is not in an image, in place of other prompts there; or no longer."""
        if isAbsent:
            self.clear(index, name)
            self._make(index, name, "absent")
            return
        for node in self._nodes(index, name, "absent"):
            slicer.mrmlScene.RemoveNode(node)

    def isAbsent(self, index: int, name: str) -> bool:
        """Whether somebody said that an object is not in an image."""
        return any(True for _node in self._nodes(index, name, "absent"))

    def clear(self, index: int, name: str) -> None:
        """Remove an object's prompts in an image."""
        for place, node in self._tied(name):
            if place == index:
                slicer.mrmlScene.RemoveNode(node)

    def names(self) -> list[str]:
        """Return the names of the objects, sorted; something else that a person drew is none."""
        corrected = {name for (_index, name), wasWritten in self._images.masks.handDrawn().items() if wasWritten}
        return sorted(corrected | {node.GetAttribute(_OBJECT) for _index, node in self._tied()})

    def prompted(self) -> set[int]:
        """Return the images that have prompts, or masks that a person drew."""
        return self.handDrawn() | {index for index, node in self._tied() if _says(node)}

    def handDrawn(self) -> set[int]:
        """Return the images with a mask of an object that a person drew, which is the prompt there."""
        names = self.names()
        return {index for index, name in self._images.masks.handDrawn() if name in names}

    def showOnly(self, index: int | None) -> None:
        """Let the markups of one image be seen and grabbed, and those of no other, be it in this set or not."""
        for place, node in self._markups():
            isSeen = place is not None and place == index
            (promptlooks.show if isSeen else promptlooks.hide)(node)
            (promptlooks.unlock if isSeen else promptlooks.lock)(node)

    def objects(self) -> list[RunObject]:
        """Return all objects with their prompts; a prompt's slice is the image.

        A mask that a person drew is the prompt in its image, in place of those that it was corrected from.

        Raises PromptError, naming the markup, for one that is outside its image, and for an object that is shown in no
        image; VolumeError for an image that cannot be used.
        """
        return objectsOf({name: self._prompts(name) for name in self.names()}, self._colors())

    def promptedIn(self, index: int, name: str) -> RunObject:
        """Return an object with its prompts in one image, perhaps none, as on the only slice of a volume.

        Raises PromptError and VolumeError as `objects` does.
        """
        given = [replace(prompt, slice_index=0) for prompt in self._inMarkups(name, index)]
        return RunObject(Segment(name, 1, self._color(name)), merge_points(given))

    def placeOf(self, node: slicer.vtkMRMLNode) -> tuple[int, str] | None:
        """Return the image and the object that a markup is a prompt of; None for any other node."""
        index, name = self._images.tiedTo(node), node.GetAttribute(_OBJECT)
        return None if index is None or name is None else (index, name)

    def nodeIds(self) -> list[str]:
        """Return the IDs of all markups of the set."""
        return [node.GetID() for _index, node in self._tied()]

    def _moveBox(self, node: slicer.vtkMRMLMarkupsROINode, name: str, index: int | None) -> None:
        if index is None:
            _forget(node)
            return
        self.setAbsent(index, name, isAbsent=False)
        self._images.tie(node, index)
        node.SetName(f"{name} {self._images.names[index]}")

    def _prompts(self, name: str) -> list[Prompt]:
        """An object's prompts in all images."""
        drawn = sorted(index for index, one in self._images.masks.handDrawn() if one == name)
        masks = [MaskPrompt(index, self._images.masks.mask(index, name)) for index in drawn]
        return [*(one for one in self._inMarkups(name) if one.slice_index not in drawn), *masks]

    def _inMarkups(self, name: str, only: int | None = None) -> list[Prompt]:
        """An object's markups as prompts, in all images or in one `only`."""
        return [
            replace(prompt, slice_index=index)
            for index, node in self._tied(name)
            if _says(node) and only in (None, index)
            for prompt in self._placed(index, node)
        ]

    def _placed(self, index: int, node: slicer.vtkMRMLMarkupsNode) -> list[Prompt]:
        kind = node.GetAttribute(_KIND)
        if kind == "absent":
            return [absentIn(self._images, index)]
        placer = PromptPlacer(self._images.sliced(index))
        if kind == "box":
            return [placer.roi(node).prompt]
        return [one.prompt for one in placer.pointList(node, include=kind == "include")]

    def _nodes(self, index: int, name: str, kind: str) -> Iterator[slicer.vtkMRMLMarkupsNode]:
        return (node for place, node in self._tied(name) if place == index and node.GetAttribute(_KIND) == kind)

    def _tied(self, name: str | None = None) -> list[tuple[int, slicer.vtkMRMLMarkupsNode]]:
        """The set's markups, of one object or all, with their images."""
        return [
            (index, node)
            for index, node in self._markups()
            if index is not None and name in (None, node.GetAttribute(_OBJECT))
        ]

    def _markups(self) -> list[tuple[int | None, slicer.vtkMRMLMarkupsNode]]:
        """All sets' markups, with their images if these are in this set."""
        return [
            (self._images.tiedTo(node), node)
            for kind in sorted(set(_CLASSES.values()))
            for node in slicer.util.getNodesByClass(kind)
            if node.GetAttribute(_KIND)
        ]

    def _colors(self) -> dict[str, Color]:
        """The colors of the objects, which are those of their markups, else of their segments."""
        displays = [(node.GetAttribute(_OBJECT), node.GetDisplayNode()) for _index, node in self._tied()]
        chosen = {name: display.GetSelectedColor() for name, display in displays if display is not None}
        return {**self._images.masks.colors(), **chosen}

    def _color(self, name: str) -> Color:
        """An object's color, for a new one the first that no other has."""
        colors = self._colors()
        return colors.get(name) or freeColor(colors.values())

    def _make(self, index: int, name: str, kind: str) -> slicer.vtkMRMLMarkupsNode:
        color = self._color(name)
        node = slicer.mrmlScene.AddNewNodeByClass(_CLASSES[kind], f"{name} {self._images.names[index]}")
        node.CreateDefaultDisplayNodes()
        promptlooks.style(node, "include" if kind == "absent" else kind)
        node.SetAttribute(_KIND, kind)
        node.SetAttribute(_OBJECT, name)
        self._images.tie(node, index)
        promptlooks.paint(node, color)
        return node


def _forget(node: slicer.vtkMRMLMarkupsNode) -> None:
    """Remove a markup that was no prompt yet, so that nothing is drawn anew without it."""
    node.RemoveAttribute(_OBJECT)
    slicer.mrmlScene.RemoveNode(node)


def _says(node: slicer.vtkMRMLMarkupsNode) -> bool:
    """Whether a markup is a prompt already, and not just being placed."""
    return bool(node.GetNumberOfDefinedControlPoints()) or node.GetAttribute(_KIND) == "absent"
