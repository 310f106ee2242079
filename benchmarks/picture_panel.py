"""The effect's panel while a liver is corrected, drawn by Qt around Slicer's widgets as Testing/standin has them.

QT_QPA_PLATFORM=offscreen .venv/bin/python benchmarks/picture_panel.py
"""

from __future__ import annotations

from typing import Any

from panel_pictures import chosen_worker, stand_in, waiting_for_qt
from picture_pages import panelPage, screenPage, stripPage, writePage
from picture_screen import screen
from picture_user import (
    CORRECTED,
    OUT,
    Bools,
    Wait,
    drawn,
    fail,
    largest,
    paint,
    prompt,
    propagate,
    scan,
    within,
    worst_slice,
)

PANEL = 480  # pixels: width
SCREENS = {(1366, 768): 420, (1920, 1080): 500}  # pixels: of the window, and its panel's width


def main() -> None:
    """Draw the panel, folded and unfolded, its strip, and where it is on two screens."""
    worker = chosen_worker(__doc__, "panel.png, advanced.png, strip.png and screens")
    if worker is None:
        return
    stand_in()
    ct, organs = scan()
    editor = new_editor(ct, CORRECTED)
    effect = editor.effectByName("MedSAM-2").self()
    services = effect.makeServices()
    services.setWorkerText(worker)
    services.setLive(False)  # what is propagated, and when, is this program's to say
    effect.makeServices = lambda: services
    editor.setActiveEffectByName("MedSAM-2")
    try:
        face = effect.face
        face.controller.failed.connect(fail)
        wait = waiting_for_qt()
        clicked = _correct(face, organs[CORRECTED], wait)
        caption = f"Slice {clicked} was clicked: the button names what is redrawn"
        writePage(panelPage(_panel(face, wait), caption), OUT / "panel.png")
        mask = drawn(face.controller)
        for size, width in SCREENS.items():
            window = screen(face, width, size, [CORRECTED, "spleen", "left kidney"], mask, clicked)
            writePage(screenPage(window), OUT / f"screen-{size[0]}x{size[1]}.png")
            face.uiWidget.setParent(None)  # or it would go with the window
        face.ui.workerCommandEdit.text = ""  # where it is on this computer is nobody's business
        face.ui.advancedSection.collapsed = False
        caption = "The last line unfolded, with what the model sees"
        writePage(panelPage(_panel(face, wait), caption), OUT / "advanced.png")
        caption = f"The strip of the {CORRECTED}, slice {clicked} in view, and each state's column"
        writePage(stripPage(face.controller, clicked, caption), OUT / "strip.png")
    finally:
        effect.cleanup()


def _correct(face: Any, organ: Bools, wait: Wait) -> int:
    """Propagate, paint the worst slice, propagate again, accept, lock and click; returns the slice clicked on."""
    controller = face.controller
    prompt(controller, organ, wait)
    propagate(controller, wait)
    start, worst = largest(organ), worst_slice(controller, organ)
    paint(controller, organ, worst, wait)
    propagate(controller, wait)
    away = -1 if worst > start else 1  # from the box, on the side that was not painted
    shown = [index for index, one in controller.review.slices().items() if one.areaMm2 and organ[index].any()]
    end = max(shown, key=lambda index: away * index)
    accepted, locked, clicked = (start + round(share * (end - start)) for share in (0.25, 0.5, 0.8))
    controller.accept(accepted)
    controller.lock(locked)
    controller.prompting.addPoint(within(controller, organ, clicked))
    wait(lambda: controller.review.slices()[clicked].state == "prompted")
    face.panel.review.goTo(clicked)
    return clicked


def new_editor(ct: Any, name: str) -> Any:
    """A Segment Editor on an empty segment of the CT."""
    import slicer

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Segmentation")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segment = segmentation.GetSegmentation().AddEmptySegment(name, name)
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(ct)
    editor.setCurrentSegmentID(segment)
    editor.show()
    return editor


def _panel(face: Any, wait: Wait) -> Any:
    """The panel's widget, out of the editor and as wide as a person may have made it."""
    import slicer

    from MedSAM2SlicerLib.ui.text import segmentText

    controller = face.controller
    widget, measured = face.uiWidget, segmentText(CORRECTED, controller.review.measures(), controller.review.stops())
    wait(lambda: face.panel.review.summary == measured)  # shown a little later
    widget.setParent(None)
    widget.setFixedWidth(PANEL)
    widget.show()
    for _ in range(3):  # each may give a label another line, and so the panel another height
        slicer.app.processEvents()
        widget.setFixedHeight(widget.layout().totalHeightForWidth(PANEL))
    return widget


if __name__ == "__main__":
    main()
