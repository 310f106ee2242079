"""What others do to segments while these are made again: it is theirs, and not the replay's."""

from __future__ import annotations

import numpy as np
from patientbench import Patient

from MedSAM2SlicerLib.replay import replay


def test_what_is_painted_during_a_replay_is_left_alone_and_is_an_edit(patient: Patient) -> None:
    patient.start()
    patient.line()
    patient.propagate()
    patient.correct()
    patient.propagate()
    wanted, report, segmentation = patient.mask, patient.record.report, patient.controller.segmentationNode
    painted = [0, *map(patient.slice, (0.2, 0.4, 0.5, 0.8))]
    spot = np.roll(patient.truth[patient.slice(0.5)], 9, axis=0)

    def paint(done: int, _planned: int) -> None:
        if done == 4:
            for index in painted:
                patient.draw(index, spot)

    replay(patient.client, patient.node, report, segmentation, progress=paint)
    assert [index for index in painted if not np.array_equal(patient.mask[index], spot)] == []
    others = np.setdiff1d(np.arange(len(wanted)), painted)
    np.testing.assert_array_equal(patient.mask[others], wanted[others])
    patient.controller.setSegment(None)
    patient.controller.setSegment(segmentation, segmentation.GetSegmentation().GetNthSegmentID(0))
    states = {index: one.state for index, one in patient.controller.review.slices().items()}
    assert [states[index] for index in painted] == ["edited"] * len(painted)
    patient.propagate()
    assert [index for index in painted if not np.array_equal(patient.mask[index], spot)] == []
