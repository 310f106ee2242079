"""Scenes in a folder, as they are saved."""

from __future__ import annotations

from pathlib import Path

import slicer
import slicer.util

FILES = {
    "vtkMRMLScalarVolumeNode": ".nrrd", "vtkMRMLSegmentationNode": ".seg.nrrd", "vtkMRMLMarkupsNode": ".mrk.json",
}  # fmt: skip


def writeScene(folder: Path) -> None:
    """Write the scene to a folder; `Connect` loads it from there."""
    scene = slicer.mrmlScene
    for storage in (slicer.vtkMRMLMarkupsJsonStorageNode, slicer.vtkMRMLMarkupsROIJsonStorageNode):
        scene.RegisterNodeClass(storage())
    for kind, suffix in FILES.items():
        for node in slicer.util.getNodesByClass(kind):
            node.AddDefaultStorageNode()
            node.GetStorageNode().SetFileName(str(folder / f"{node.GetID()}{suffix}"))
            assert node.GetStorageNode().WriteData(node)
    scene.SetRootDirectory(str(folder))
    scene.SetURL(str(folder / "scene.mrml"))
    assert scene.Commit()
