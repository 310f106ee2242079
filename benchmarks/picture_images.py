"""The tab Images after a run, drawn by Qt around Slicer's widgets as Testing/standin has them, with the starter.

QT_QPA_PLATFORM=offscreen .venv/bin/python benchmarks/picture_images.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

import open_pictures
from medsam2_core.io.pictures import read_pictures
from panel_pictures import MODULE, chosen_worker, stand_in, waiting_for_qt
from picture_pages import panelPage, writePage
from picture_user import OUT
from set_pictures import DISC, visits

WIDTH, HEIGHT = 480, 320  # pixels
OBJECT = "optic disc"
_SOURCE = "Photograph: retina.jpg of scikit-image 0.15.0"
_NOTE = f"{_SOURCE}. Model: starter. Not for clinical use."


def main() -> None:
    """Draw the tab with the images of one eye, prompted by a box on the first one."""
    worker = chosen_worker(__doc__, "images.png")
    if worker is None:
        return
    stand_in()
    import slicer
    import slicer.util

    from MedSAM2SlicerLib.ui.services import Services

    (photo,) = (one.array for one in read_pictures(open_pictures.fundus()))
    volumes = [_volume(name, pixels) for name, pixels in visits(photo).items()]
    slicer.util.selectModule("MedSAM2Slicer")
    services = Services(MODULE)
    services.setWorkerText(worker)
    module = slicer.util.getModuleWidget("MedSAM2Slicer")
    module.useServices(services)
    module.enter()
    module.tabs.bring("Images")
    tab = module.tabs.front
    wait = waiting_for_qt()
    try:
        wait(lambda: len(tab.controller.rows()) == len(volumes))
        tab.ui.objectEdit.text = OBJECT
        tab.show(0)
        _box(tab.controller, volumes[0])
        tab.update()
        tab.run()
        wait(lambda: not tab.controller.busy)
        tab.showNext()
        tab.ui.imageTable.clearSelection()
        tab.widget.setParent(None)
        tab.widget.setFixedSize(WIDTH, HEIGHT)
        tab.widget.show()
        page = panelPage(tab.widget, "A box on one image, and all others by doubt", _NOTE)
        writePage(page, OUT / "images.png", _SOURCE)
    finally:
        services.client().stop()
        module.cleanup()


def _volume(name: str, pixels: Any) -> Any:
    import slicer
    import slicer.util

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.ascontiguousarray(pixels[None]))
    return node


def _box(controller: Any, volume: Any) -> None:
    """Put a box around the optic disc of the first image."""
    import vtk

    from MedSAM2SlicerLib.scene.geometry import ijkToWorld

    x0, y0, x1, y1 = DISC
    low, high = ijkToWorld(volume, [[x0, y0, 0], [x1, y1, 0]])
    node = controller.prompts.nodeToPlace(0, OBJECT, "box")
    node.AddControlPointWorld(vtk.vtkVector3d(*(low + high) / 2))
    node.SetSize(*np.maximum(np.abs(high - low), 1.0))


if __name__ == "__main__":
    main()
