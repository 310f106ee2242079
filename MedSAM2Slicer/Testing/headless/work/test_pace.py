"""How long slices take: what runs measure, what is said of the next one, and how that becomes the time left."""

from __future__ import annotations

import pytest
from controllerbench import ControllerBench, finish

from medsam2_core.worker.results import Propagated, Step
from MedSAM2SlicerLib.options import RunOptions
from MedSAM2SlicerLib.work.pace import Course, Outlook, Pace, course, measuredPace, outlook
from MedSAM2SlicerLib.work.running import Running

WHOLE = [(0, 100)]
PACE = Pace(first=50.0, again=20.0)


def ran(seconds: float, runs: int, hits: int) -> Propagated:
    return Propagated(False, seconds, (), encoder={"runs": runs, "hits": hits})


@pytest.mark.parametrize(
    ("looks", "runs", "hits", "measured"),
    [
        (40, 41, 0, Pace(first=50.0)),
        (40, 1, 40, Pace(again=50.0)),
        (40, 20, 20, Pace()),
        (120, 0, 40, Pace()),  # three axes after one: two of three looks are the first ones
        (4, 5, 0, Pace()),
    ],
)
def test_a_run_tells_of_first_looks_or_of_others(looks: int, runs: int, hits: int, measured: Pace) -> None:
    assert measuredPace([ran(looks * 0.05, runs, hits)], looks) == measured


def test_a_later_run_tells_more() -> None:
    assert Pace(first=50.0).updated(Pace(again=20.0)) == PACE
    assert PACE.updated(Pace(first=60.0)) == Pace(60.0, 20.0)


@pytest.mark.parametrize(
    ("anchors", "drawn", "direction", "isAgain", "expected"),
    [
        ([40], [], "both", False, Course(99, False, True)),
        ([40], [], "forward", False, Course(59, False, True)),
        ([40], [], "backward", False, Course(40, False, True)),
        ([40, 60], [], "both", False, Course(40 + 2 * 19 + 39, False, True)),
        ([40, 60], range(30, 70), "both", True, Course(10 + 19 + 9, True, False)),
        ([40], range(30, 40), "both", True, Course(10 + 59, True, True)),
        ([0], [], "backward", False, Course(0, False, False)),
    ],
)
def test_what_is_looked_at(anchors: list[int], drawn: range, direction: str, isAgain: bool, expected: Course) -> None:
    assert course(WHOLE, anchors, set(drawn), direction, isAgain) == expected


def test_parts_are_looked_at_by_themselves() -> None:
    assert course([(0, 11), (20, 31)], [10, 20], set(), "both", False).slices == 10 + 10


def test_objects_and_axes_multiply() -> None:
    one = Course(100, False, True)
    assert outlook([one], 1, PACE, isShared=False) == Outlook(1, 100, 1, 5.0, True)
    assert outlook([one] * 8, 1, PACE, isShared=False).seconds == pytest.approx(40.0)
    assert outlook([one], 3, PACE, isShared=False).seconds == pytest.approx(15.0)
    assert outlook([one], 3, PACE, isShared=False).looks == 300


def test_what_the_model_has_seen_goes_faster() -> None:
    again = Course(100, True, False)
    assert outlook([again], 1, PACE, isShared=False).seconds == pytest.approx(2.0)
    assert outlook([again], 1, Pace(first=50.0), isShared=False).seconds == pytest.approx(5.0)
    assert outlook([again], 3, PACE, isShared=False).seconds == pytest.approx(15.0)


def test_segments_share_slices_that_are_seen_whole() -> None:
    assert outlook([Course(100, False, True)] * 8, 1, PACE, isShared=True).seconds == pytest.approx(5.0 + 7 * 2.0)


def test_nothing_is_said_of_a_time_that_is_not_known() -> None:
    assert outlook([Course(100, False, True)], 1, Pace(), isShared=False).seconds is None
    assert Outlook(1, 0, 1, 0.0, False).secondsOfLook is None


def test_the_time_left_goes_over_from_what_was_expected_to_what_is_measured() -> None:
    clock = [0.0]
    running = Running({}, Outlook(1, 100, 1, 5.0, True), clock=lambda: clock[0])
    assert running.progress.secondsLeft == pytest.approx(5.0)
    left = []
    for done in range(1, 101):
        clock[0] += 3.0 if done == 1 else 0.1  # a model that had to be opened, then half as fast as expected
        left.append(running.write(Step(done, "forward", done, 100, ())).secondsLeft)
    assert left[0] == pytest.approx(99 * 0.05)
    assert max(left) < 8.0
    assert left[50] == pytest.approx(49 * (10 * 0.05 + 50 * 0.1) / 60)
    assert left[-1] == 0


def test_a_run_is_expected_to_go_as_far_as_the_one_before() -> None:
    running = Running({}, Outlook(1, 20, 1, 1.0, False), clock=lambda: 0.0)
    planned = [running.write(Step(done, "forward", done, 100, ())).planned for done in (1, 20, 21, 22)]
    assert planned == [20, 20, 100, 100]
    assert running.write(Step(23, "forward", 23, 23, ())).planned == 23


def test_without_an_expectation_the_rate_is_known_from_the_second_slice_on() -> None:
    clock = [0.0]
    running = Running({}, clock=lambda: clock[0])
    assert running.progress.planned == 0
    clock[0] = 3.0
    first = running.write(Step(1, "forward", 1, 11, ()))
    assert (first.slicesPerSecond, first.secondsLeft) == (None, None)
    clock[0] = 3.5
    second = running.write(Step(2, "forward", 2, 11, ()))
    assert (second.slicesPerSecond, second.secondsLeft) == (2.0, 4.5)


def test_a_controller_says_what_is_ahead_and_learns_from_what_was(bench: ControllerBench) -> None:
    bench.click(4, 4, 3)
    bench.preview()
    assert bench.controller.review.outlook() == Outlook(1, 6, 1, None, True)
    finish(bench.propagate(0))
    (first,) = bench.said["progressed"][0]
    assert (first.done, first.secondsLeft) == (0, None)
    told = bench.controller.review.outlook()
    assert (told.slices, told.isAtMost, told.seconds) == (6, False, pytest.approx(6 * 0.5 / 7))
    del bench.said["progressed"][:]
    bench.propagate(0)
    (first,) = bench.said["progressed"][0]
    assert (first.done, first.planned, first.secondsLeft) == (0, 6, told.seconds)


def test_other_options_say_nothing_of_another_model(done: ControllerBench) -> None:
    assert done.controller.review.outlook().seconds is not None
    done.controller.setOptions(RunOptions(model="other.pt"))
    assert done.controller.review.outlook().seconds is None
