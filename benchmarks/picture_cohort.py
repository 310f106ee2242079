"""The tab Cohort while its cases are reviewed, drawn by Qt around Slicer's widgets as Testing/standin has them.

QT_QPA_PLATFORM=offscreen .venv/bin/python benchmarks/picture_cohort.py cohort-demo/results

The results are copied first: in the copy the most doubtful case is accepted, and the second one corrected.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from panel_pictures import stand_in
from picture_user import OUT

PICTURE = OUT / "cohort-tab.png"
SIZE = (480, 430)  # pixels


def main(results: Path) -> None:
    """Review two cases, and draw the tab."""
    stand_in()
    import slicer
    import slicer.util

    slicer.util.selectModule("MedSAM2Slicer")
    widget = slicer.util.getModuleWidget("MedSAM2Slicer")
    with tempfile.TemporaryDirectory() as folder:
        widget.tabs.bring("Cohort")
        tab = widget.tabs.tab("Cohort")
        tab.open(Path(shutil.copytree(results, Path(folder) / "results")))
        _review(tab)
        widget.tabs.bring("Cohort")
        tab.ui.filterComboBox.currentIndex = tab.ui.filterComboBox.findData("all")
        _draw(widget.tabs.widget, tab.ui.folderLabel, str(results))
        widget.cleanup()


def _review(tab: Any) -> None:
    """Accept the first case, paint a slice of the second, and go on to the third."""
    from MedSAM2SlicerLib.scene.segments import SegmentWriter

    tab.bar.nextButton.click()
    tab.bar.acceptButton.click()
    tab.bar.nextButton.click()
    nodes = tab.review.case.nodes
    writer = SegmentWriter(nodes.segmentationNode, nodes.segmentIds[0], nodes.volumeNode)
    writer.begin()
    writer.writeSlices({0: np.ones(writer.sliceShape(0), dtype=bool)}, 0)
    writer.end()
    tab.bar.nextButton.click()


def _draw(tabs: Any, label: Any, shown: str) -> None:
    import slicer

    slicer.app.mainWindow.resize(*SIZE)
    slicer.app.mainWindow.show()
    for _ in range(3):  # each may give a label another line, and so the tab another height
        slicer.app.processEvents()
    label.text = shown  # not where the copy is
    if not tabs.grab().save(str(PICTURE)):
        raise SystemExit(f"{PICTURE} cannot be written.")
    print(f"Written: {PICTURE}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
