"""One worker for all who use it."""

from __future__ import annotations

from unittest import mock

from MedSAM2SlicerLib.worker.sharedclient import SharedClient


def test_the_last_one_to_leave_ends_it() -> None:
    shared, make = SharedClient(), mock.Mock(side_effect=lambda: mock.Mock())
    first, second = shared.take(make), shared.take(make)
    assert first is second
    shared.leave()
    assert not first.stop.called
    shared.leave()
    first.stop.assert_called_once_with()
    assert shared.take(make) is not first
    assert make.call_count == 2
