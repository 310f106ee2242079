"""Slices that show the worker's answers."""

from __future__ import annotations

from MedSAM2SlicerLib.work.shownanswers import ShownAnswers


def test_what_undo_brings_back_is_the_workers_again_unless_it_has_answered_since() -> None:
    answers = ShownAnswers()
    answers.note([1, 2, 3])
    first = answers.shown
    answers.note([3])
    answers.hide([1, 2])
    assert answers.slices == {3}
    answers.bringBack([1, 3], first)  # the worker has another answer on 3 by now
    assert answers.slices == {1}
    answers.bringBack([1, 2], {})
    assert answers.slices == set()


def test_a_worker_that_starts_over_has_drawn_nothing() -> None:
    answers = ShownAnswers()
    answers.note([1])
    answers.forget()
    assert answers.slices == set()
    answers.note([2])
    assert answers.slices == {2}
