"""Loading volumes, and scenes saved to a folder with all their data and loaded from there, as `slicer.util` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import slicer.util

_ENDINGS = {
    "vtkMRMLScalarVolumeNode": ".nrrd",
    "vtkMRMLSegmentationNode": ".seg.nrrd",
    "vtkMRMLMarkupsNode": ".mrk.json",
}


def loadVolume(filename: str, properties: Any = None) -> Any:
    """Return the node of a volume read from a file."""
    return slicer.modules.volumes.logic().AddArchetypeVolume(filename, Path(filename).name.partition(".")[0])


def saveScene(filename: str, properties: Any = None) -> bool:
    """Write the scene and the data of its nodes to a folder of this name."""
    folder = Path(filename)
    folder.mkdir(parents=True, exist_ok=True)
    written = [_write(node, folder) for node in slicer.util.getNodesByClass("vtkMRMLStorableNode")]
    slicer.mrmlScene.SetURL(str(folder / "scene.mrml"))
    slicer.mrmlScene.SetRootDirectory(str(folder))
    return all(written) and bool(slicer.mrmlScene.Commit())


def loadScene(filename: str, properties: Any = None) -> bool:
    """Add what such a folder holds to the scene."""
    slicer.mrmlScene.SetURL(str(Path(filename) / "scene.mrml"))
    return bool(slicer.mrmlScene.Import())


def install() -> None:
    """Put the functions where Slicer has them."""
    for kind in ("vtkMRMLMarkupsJsonStorageNode", "vtkMRMLMarkupsROIJsonStorageNode"):
        slicer.mrmlScene.RegisterNodeClass(getattr(slicer, kind)())
    slicer.util.loadVolume, slicer.util.saveScene, slicer.util.loadScene = loadVolume, saveScene, loadScene


def _write(node: Any, folder: Path) -> bool:
    ending = next((ending for kind, ending in _ENDINGS.items() if node.IsA(kind)), "")
    if not ending:
        return True
    if node.GetStorageNode() is None:
        node.AddDefaultStorageNode()
    node.GetStorageNode().SetFileName(str(folder / f"{node.GetID()}{ending}"))
    return bool(node.GetStorageNode().WriteData(node))
