"""The client with a real worker process: answers, errors, order, cancel, and sessions that come and go."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from patience import CEILING

from medsam2_core.errors import Cancelled, PromptError, WeightsError, WorkerError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.image.window import Window
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, RunObject
from MedSAM2SlicerLib.worker import requests
from MedSAM2SlicerLib.worker.callqueue import State


def test_predict_gives_the_mask_of_the_stored_slice(make_client, volume, block) -> None:
    (answer,) = make_client().predict("s", 5, [block]).wait()
    assert (answer.object_id, answer.confidence) == (1, 0.9)
    assert np.array_equal(answer.mask.full((20, 30)), volume.gray[5] > 100)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_propagate_steps_through_the_slices_of_an_axis(make_client, volume, axis: int) -> None:
    client = make_client()
    client.openSession("s", "ct", axis)
    item = RunObject(Segment("x", 1, (1, 0, 0)), (BoxPrompt(5, (1, 1, 4, 4)),))
    steps = []
    result = client.propagate("s", [item], 2, 9, onStep=steps.append).wait()
    assert [step.slice_index for step in steps] == [5, 6, 7, 8, 4, 3, 2]
    assert [(step.done, step.planned) for step in steps] == [(n, 7) for n in range(1, 8)]
    stored = np.moveaxis(volume.gray, axis, 0) > 100
    for step in steps:
        assert np.array_equal(step.answers[0].mask.full(stored.shape[1:]), stored[step.slice_index])
        assert math.isnan(step.answers[0].object_score)  # it was infinite
    assert [one.slice_index for one in result.objects[0].slices] == list(range(2, 9))
    assert result.objects[0].stopped == {"forward": "reached the end"}
    assert not result.cancelled


def test_the_worker_keeps_what_is_open(make_client, block) -> None:
    client = make_client()
    client.predict("s", 5, [block]).wait()
    assert client.modelFacts == {"name": "fake", "device": "cpu", "image_size": None, "precision": "float32"}
    client.openSession("other", "ct", axis=1)
    client.predict("other", 5, [RunObject(block.segment, (BoxPrompt(5, (1, 1, 4, 4)),))]).wait()
    client.predict("s", 6, [block]).wait()
    status = client.status().wait()
    assert (status["volumes"], status["sessions"], status["encoder_runs"]) == (["ct"], ["other", "s"], 3)
    client.closeVolume("ct", {"s", "none"})
    status = client.status().wait()
    assert (status["volumes"], status["sessions"]) == (["ct"], ["other"])  # somebody else's
    client.closeSession("other")
    assert client.status().wait()["sessions"] == []
    client.closeVolume("ct", set())
    status = client.status().wait()
    assert (status["volumes"], status["sessions"]) == ([], [])


def test_another_model_or_volume_opens_sessions_anew(make_client, volume, block) -> None:
    client = make_client()
    client.predict("s", 5, [block]).wait()
    client.setModel("other")
    client.predict("s", 5, [block]).wait()
    assert client.modelFacts["name"] == "other"
    client.setVolume("ct", replace(volume, gray=np.zeros_like(volume.gray)))
    (answer,) = client.predict("s", 5, [block]).wait()
    assert answer.mask.box is None


def test_an_equal_volume_is_not_sent_again(make_client, volume, block) -> None:
    """Each panel windows the volume itself, and the embeddings of its slices are dear."""

    @dataclass(frozen=True)
    class Keyed:
        gray: np.ndarray = field(compare=False)
        geometry: Geometry
        window: Window

    client = make_client()
    client.setVolume("ct", Keyed(volume.gray, volume.geometry, volume.window))
    with mock.patch.object(requests, "openVolume", wraps=requests.openVolume) as send:
        client.predict("s", 5, [block]).wait()
        client.setVolume("ct", Keyed(volume.gray.copy(), volume.geometry, volume.window))
        client.predict("s", 6, [block]).wait()
    assert send.call_count == 1


def test_prepare_opens_ahead_of_need(make_client, block) -> None:
    client = make_client()
    facts = []
    client.prepare("s", facts.append).wait()
    assert facts == [client.modelFacts]
    client.prepare("s").wait()
    assert client.status().wait()["sessions"] == ["s"]


def test_it_is_ready_once_the_model_is_open_and_there_is_a_log_from_the_start(make_client) -> None:
    client = make_client()
    assert not client.isReady
    call = client.prepare()
    assert (
        client.log.path.read_text(encoding="utf-8")
        .rstrip()
        .endswith(shlex.quote(str(Path(__file__).with_name("fake_worker.py"))))
    )
    assert client.log.lastLine == ""
    call.wait()
    assert client.isReady
    client.setModel("another")
    assert not client.isReady
    client.stop()
    assert not client.isReady


def test_callbacks_come_from_pump_only_and_in_order(make_client, block) -> None:
    client = make_client()
    seen = []
    calls = [client.predict("s", index, [block], lambda _, index=index: seen.append(index)) for index in (5, 6, 7)]
    calls[0].wait()
    time.sleep(0.1)
    assert seen == [5]
    calls[2].wait()
    assert seen == [5, 6, 7]


def test_a_callback_may_ask_for_more(make_client, block) -> None:
    client = make_client()
    answers = []
    client.predict("s", 5, [block], lambda _: client.predict("s", 6, [block], answers.append))
    while not answers:
        client.pump(0.05)


def pump_for_ever(client) -> None:
    while True:
        client.pump(0.05)


def test_a_failing_callback_leaves_the_client_working(make_client, block) -> None:
    client = make_client()
    client.predict("s", 5, [block], lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pump_for_ever(client)
    assert client.predict("s", 5, [block]).wait()


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [("missing", WeightsError, "There is no model"), ("broken", WorkerError, "nobody expected this")],
)
def test_errors_arrive_with_their_class(make_client, block, model: str, error: type, text: str) -> None:
    client = make_client()
    client.setModel(model)
    with pytest.raises(error, match=text):
        client.predict("s", 5, [block]).wait()
    client.setModel("fake")
    assert client.predict("s", 5, [block]).wait()


def test_a_model_that_cannot_be_loaded_takes_the_one_before_with_it(make_client, block) -> None:
    client = make_client()
    assert client.predict("s", 5, [block]).wait()
    client.setModel("missing")
    with pytest.raises(WeightsError):
        client.predict("s", 5, [block]).wait()
    client.setModel("fake")
    assert client.predict("s", 5, [block]).wait()


def test_a_model_that_chose_its_precision_serves_who_wants_just_that(make_client, block) -> None:
    client = make_client()
    client.predict("s", 5, [block]).wait()
    for precision, opened in (("float32", 1), ("auto", 1), ("bfloat16", 2), ("float32", 3)):
        client.setModel("fake", precision=precision)
        client.predict("s", 5, [block]).wait()
        assert client._openings.run == opened
    assert client.modelFacts["precision"] == "float32"


def test_a_refused_prompt_leaves_the_session_right(make_client, block) -> None:
    client = make_client()
    wrong = RunObject(block.segment, (*block.prompts, BoxPrompt(99, (1, 1, 4, 4))))
    with pytest.raises(PromptError, match="Slice 99"):
        client.predict("s", 5, [wrong]).wait()
    assert len(client.predict("s", 5, [block]).wait()) == 1


def test_every_kind_of_prompt_arrives(make_client, block) -> None:
    mask = np.zeros((20, 30), bool)
    mask[3:7, 8:20] = True
    prompts = (PointsPrompt(4, ((5.5, 6.25), (1, 1)), (True, False)), MaskPrompt(6, mask), MaskPrompt(7, ~mask & False))
    client = make_client()
    assert len(client.predict("s", 4, [RunObject(block.segment, prompts)]).wait()) == 1
    assert len(client.predict("s", 6, [RunObject(block.segment, prompts)]).wait()) == 1


def test_what_was_never_opened_is_an_error_and_no_exception(make_client, block) -> None:
    client = make_client()
    client.predict("s", 5, [block]).wait()
    errors = []
    call = client.predict("nonsense", 5, [block], onError=errors.append)
    assert not errors
    with pytest.raises(WorkerError, match="no session 'nonsense'"):
        call.wait()
    assert len(errors) == 1
    assert client.predict("s", 5, [block]).wait()


def test_cancel_acts_within_a_slice_and_keeps_what_is_done(make_client, hold, block) -> None:
    client = make_client(None, 0, hold)
    hold.touch()
    steps = []
    call = client.propagate("s", [block], 0, 12, onStep=steps.append)
    while len(steps) < 2:
        client.pump(0.01)
    call.cancel()
    result = call.wait()
    assert result.cancelled
    assert len(steps) == 2
    hold.unlink()
    assert {one.slice_index for one in result.objects[0].slices} == {step.slice_index for step in steps}
    assert not client.propagate("s", [block], 4, 7).wait().cancelled


def test_cancel_of_what_waits_ends_it_at_once(make_client, block) -> None:
    client = make_client(None, 0.01)
    running = client.propagate("s", [block], 0, 12)
    waiting = client.predict("s", 5, [block])
    waiting.cancel()
    assert isinstance(waiting.error, Cancelled)
    running.cancel()  # it has not reached the worker yet
    assert isinstance(running.error, Cancelled)
    assert client.predict("s", 5, [block]).wait()


def test_states_and_stop(make_client, block) -> None:
    client = make_client()
    states = []
    client.stateChanged.connect(states.append)
    client.predict("s", 5, [block]).wait()
    waiting = client.propagate("s", [block], 0, 12)
    client.stop()
    assert isinstance(waiting.error, Cancelled)
    assert states[0] is State.STARTING
    assert State.WORKING in states
    assert states[-1] is State.STOPPED
    assert client.predict("s", 5, [block]).wait()  # it starts again


def test_another_command_takes_over(make_client, block) -> None:
    client = make_client(["no-such-program"])
    with pytest.raises(WorkerError, match="no-such-program"):
        client.predict("s", 5, [block]).wait()
    client.setCommand(make_client()._queue._command)
    assert client.predict("s", 5, [block]).wait()


def test_the_log_is_private_and_holds_what_was_printed(make_client, block) -> None:
    client = make_client()
    client.predict("s", 5, [block]).wait()
    client.stop()
    assert "A library printed this to stdout." in client.log.path.read_text(encoding="utf-8")
    assert client.log.path.stat().st_mode & 0o777 == 0o600


def test_importing_the_client_leaves_torch_out() -> None:
    modules = "client, transports, connection, requests, opening, drawn, calls, workerlog"
    imports = f"import sys; from MedSAM2SlicerLib.worker import {modules}"
    code = f"{imports}; sys.exit('torch' in sys.modules or 'qt' in sys.modules)"
    folder = __file__.split("/Testing/")[0]
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, timeout=CEILING, check=False).returncode == 0
