"""The tables of settings: what comes of a row everywhere, and that nothing has to be said twice."""

from __future__ import annotations

import argparse
import inspect
import json
from dataclasses import fields
from typing import Any

import pytest

import medsam2_core as m2
from medsam2_core.errors import PromptError, WorkerError
from medsam2_core.image.slicing import SliceStack
from medsam2_core.image.window import Window
from medsam2_core.job.setting_options import add_setting_options, given_settings
from medsam2_core.run import values
from medsam2_core.run.file_settings import OF_ONE_RUN, read_settings
from medsam2_core.run.report import describe_rules
from medsam2_core.run.sequence import PlacedRun
from medsam2_core.run.settings import FileSettings, RunSettings, plain_settings
from medsam2_core.setting import Choice, Number, Setting, Text, Whole, plain_rows, rows
from medsam2_core.stopping import StopRules
from medsam2_core.worker import fields as wire

ROWS = (*plain_rows(RunSettings), *plain_rows(StopRules))
WITH_OPTION = [row for row in ROWS if row.option is not None]
LOADED = ("model_sha256", "image_size")
"""What nobody knows before the model is loaded."""


def another(row: Setting) -> Any:
    """A value that is not the default."""
    if isinstance(row.kind, Choice):
        return row.kind.names[-1]
    if isinstance(row.kind, Whole):
        return max(row.kind.least, 5)
    if isinstance(row.kind, Number):
        return 0.25
    return "self-sorting:3" if row.name == "memory" else "other"


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_setting_options(parser)
    return parser.parse_args(words)


def test_a_file_can_name_every_setting_of_a_run() -> None:
    names = {row.name for row in rows(RunSettings)} - {"first", "last"} | {"range"}
    assert {one.name for one in fields(FileSettings)} == names


def test_settings_of_one_run_are_those_of_a_sequence() -> None:
    assert OF_ONE_RUN == ("range", "direction", "directions", "stop", "rounds")


def test_every_part_has_who_takes_it() -> None:
    run = PlacedRun((), 0, 1, "both", StopRules()).settings
    taken = {
        "session": inspect.signature(m2.VolumeSession).parameters,
        "drawing": inspect.signature(m2.VolumeSession.redraw).parameters,
        "run": run,
    }
    for part, names in taken.items():
        assert {row.name for row in rows(RunSettings) if row.part == part} <= set(names), part
    assert {row.part for row in rows(RunSettings)} == {"model", "slices", *taken}


@pytest.mark.parametrize("row", [row for row in ROWS if row.name not in LOADED], ids=lambda row: row.name)
def test_a_default_is_a_value_that_can_be_given(row: Setting) -> None:
    if row.default is None:
        assert row.optional
    else:
        assert values.plain(row.kind, row.default, "here") == row.default


@pytest.mark.parametrize("row", plain_rows(RunSettings), ids=lambda row: row.name)
def test_a_setting_is_read_from_a_file(row: Setting) -> None:
    found = read_settings({row.key: another(row)})
    assert vars(found) == {**vars(FileSettings()), row.name: another(row)}


@pytest.mark.parametrize("row", plain_rows(StopRules), ids=lambda row: row.name)
def test_a_rule_is_written_and_read(row: Setting) -> None:
    for value in (another(row), None):
        stop = json.loads(json.dumps(describe_rules(StopRules(**{row.name: value}))))
        assert read_settings({"stop": stop}).stop == {**describe_rules(StopRules()), row.key: value}


@pytest.mark.parametrize("row", WITH_OPTION, ids=lambda row: row.name)
def test_a_setting_is_read_from_a_command_line(row: Setting) -> None:
    table = RunSettings if row.part else StopRules
    assert given_settings(parsed(), table) == {}
    value = another(row)
    word = f"{value * row.option.per if row.option.per > 1 else value}"
    assert given_settings(parsed(row.option.flag, word), table) == {row.name: value}


def test_an_option_takes_what_a_file_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--smooth", "1001")
    assert "'1001' cannot be used: give a number from 0 to 1000" in capsys.readouterr().err
    with pytest.raises(PromptError, match="give a number from 0 to 1000"):
        read_settings({"smoothing_mm": 1001})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_setting_comes_over_the_wire(row: Setting) -> None:
    assert wire.setting({row.name: another(row)}, row) == another(row)
    assert wire.setting({}, row) == (None if row.optional else row.default)
    wrong = 1 if isinstance(row.kind, Choice | Text) else "many"
    with pytest.raises(WorkerError, match=row.name):
        wire.setting({row.name: wrong}, row)


def test_the_first_source_that_has_a_setting_counts() -> None:
    chosen = plain_settings({"threshold": 0.0}, {"threshold": 0.7, "direction": None}, {"direction": "forward"})
    assert (chosen["threshold"], chosen["direction"], chosen["memory"]) == (0.0, "forward", RunSettings.memory)
    assert chosen.keys() == {row.name for row in plain_rows(RunSettings)}


def test_what_the_model_tells_completes_the_settings() -> None:
    wish = RunSettings(stack=SliceStack(), window=Window(0, 1, "own"), first=0, last=4)
    facts = {"name": "a", "sha256": "b", "image_size": 128, "device": "cuda", "field_of_view": "zoom"}
    facts |= {"precision": "bfloat16", "parameters": 3}
    made = wish.of_model(facts)
    assert (made.of("model"), made.of("session")["field_of_view"]) == (
        {"model": "a", "model_sha256": "b", "image_size": 128, "device": "cuda", "precision": "bfloat16"}, "zoom",
    )  # fmt: skip
    assert wish.of_model({}) == wish
    chosen = RunSettings(**{**vars(wish), "field_of_view": "whole"})
    assert chosen.of_model(facts).field_of_view == "whole"
