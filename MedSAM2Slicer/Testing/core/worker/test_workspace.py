"""What the worker keeps: prompts changed only where they differ, and less memory used when there is none left."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from medsam2_core import free_memory
from medsam2_core.errors import DeviceError, PromptError, WorkerError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.segments import Segment
from medsam2_core.run.applied import AppliedPrompts
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, RunObject
from medsam2_core.worker.image_sets import SetImage
from medsam2_core.worker.interfaces import SeenVolume, SessionSpec, SetSpec
from medsam2_core.worker.workspace import Workspace

GEOMETRY = Geometry((8, 16, 16), (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
POINT, OTHER_POINT = PointsPrompt(2, ((5.0, 5.0),), (True,)), PointsPrompt(2, ((9.0, 9.0),), (True,))
BOX = BoxPrompt(4, (2, 2, 9, 9))
BLANK = np.zeros((8, 16, 16), np.uint8)
SPEC = SessionSpec("v", 0, {"memory": "self-sorting", "field_of_view": "auto"})


@pytest.fixture(scope="module")
def fake() -> ModuleType:
    path = Path(__file__).parents[2] / "client" / "fake_worker.py"
    spec = importlib.util.spec_from_file_location("fake_worker", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def session(fake: ModuleType):
    return fake.FakeSession(np.zeros((8, 16, 16), np.uint8))


@pytest.fixture
def applied(session) -> AppliedPrompts:
    return AppliedPrompts(session, SliceOrientation.upright(GEOMETRY, 0))


def item(label: int, *prompts) -> RunObject:
    return RunObject(Segment("x", label, (1, 0, 0)), prompts)


def changes(session) -> list:
    calls = list(session.calls)
    session.calls.clear()
    return calls


def test_only_what_differs_is_changed(session, applied: AppliedPrompts) -> None:
    mask = MaskPrompt(6, np.eye(16, dtype=bool))
    applied.change_to([item(1, POINT, BOX), item(2, mask)])
    assert changes(session) == [("points", 1, 2), ("box", 1, 4), ("mask", 2, 6)]
    applied.change_to([item(1, POINT, BOX), item(2, MaskPrompt(6, mask.mask.copy()))])
    assert changes(session) == []
    applied.change_to([item(1, POINT, BOX, BoxPrompt(2, (1, 1, 5, 5))), item(2, mask)])
    assert changes(session) == [("box", 1, 2)]  # added to the point
    applied.change_to([item(1, OTHER_POINT, BOX), item(2, MaskPrompt(6, ~mask.mask))])
    assert changes(session) == [("remove", 1, 2), ("remove", 2, 6), ("points", 1, 2), ("mask", 2, 6)]


def test_an_object_without_prompts_stays_and_one_left_out_goes(session, applied: AppliedPrompts) -> None:
    applied.change_to([item(1, POINT), item(2, BOX)])
    changes(session)
    applied.change_to([item(1), item(2, BOX)])
    assert changes(session) == [("remove", 1, 2)]
    applied.change_to([item(2, BOX)])
    assert changes(session) == [("forget", 1)]
    applied.change_to([item(1, POINT)])
    assert changes(session) == [("forget", 2), ("points", 1, 2)]


def test_a_refused_prompt_leaves_an_exact_account(session, applied: AppliedPrompts) -> None:
    with pytest.raises(PromptError):
        applied.change_to([item(1, POINT, BoxPrompt(99, (1, 1, 5, 5)), BOX)])
    assert changes(session) == [("points", 1, 2), ("box", 1, 4)]
    applied.change_to([item(1, POINT, BOX)])
    assert changes(session) == []


@pytest.mark.parametrize(
    "text",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory (MPS allocated: 8.00 GB)",
        "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes",
    ],
)
def test_whatever_device_says_that_no_memory_is_left_is_understood(text: str) -> None:
    assert free_memory.is_out_of_memory(RuntimeError(text))
    assert not free_memory.is_out_of_memory(ValueError(text))
    assert not free_memory.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


class Short:
    """A fake backend whose sessions run out of memory until one of `cures` has been applied."""

    def __init__(self, fake: ModuleType, cure: str) -> None:
        self.fake, self.cure, self.devices, self.sessions = fake, cure, [], []

    def open_model(self, name: str, device: str, image_size: int | None, precision: str) -> dict:
        self.devices.append(device)
        if name == "large" and device != "cpu":
            raise MemoryError("CUDA out of memory")
        return {"name": name, "device": "cpu" if device == "cpu" else "cuda"}

    def open_session(self, spec: SessionSpec, volume: SeenVolume, orientation: SliceOrientation):
        backend = self

        class Session(self.fake.FakeSession):
            def predict_slice(self, slice_index: int):
                small = self.cache_limit and self.cache_limit <= 64 << 20
                cured = {"small": small, "cpu": backend.devices[-1] == "cpu", "nothing": False}[backend.cure]
                if not cured:
                    raise MemoryError("CUDA out of memory")
                return super().predict_slice(slice_index)

        self.sessions.append(Session(orientation.turn(volume.voxels)))
        return self.sessions[-1]

    def cache_budget(self) -> int:
        return 1 << 30

    def is_out_of_memory(self, error: Exception) -> bool:
        return isinstance(error, MemoryError)

    def release(self) -> None:
        """Nothing is held."""


def opened(backend: Short, device: str = "auto") -> Workspace:
    workspace = Workspace(backend)
    workspace.open_model("m", device, None, "auto", pytest.fail)
    workspace.open_volume("v", SeenVolume(np.zeros((8, 16, 16), np.uint8), GEOMETRY))
    workspace.open_session("s", SPEC, pytest.fail)
    return workspace


def predict(workspace: Workspace, notices: list) -> list:
    return workspace.work("s", lambda session: session.predict(4, [item(1, BOX)]), notices.append)


def test_out_of_memory_falls_back_step_by_step_and_says_so(fake: ModuleType) -> None:
    notices: list[str] = []
    workspace = opened(Short(fake, "small"))
    assert predict(workspace, notices)
    assert [text.split(":")[0] for text in notices] == ["Memory ran out"]
    assert predict(workspace, notices)  # it stays small
    assert len(notices) == 1


def test_out_of_memory_ends_on_the_processor(fake: ModuleType) -> None:
    notices: list[str] = []
    workspace = opened(Short(fake, "cpu"))
    assert predict(workspace, notices)
    assert len(notices) == 2
    assert "processor" in notices[1]
    assert workspace.status()["model"]["device"] == "cpu"


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_no_memory_at_all_is_a_device_error(fake: ModuleType, device: str) -> None:
    with pytest.raises(DeviceError, match="Memory ran out"):
        predict(opened(Short(fake, "nothing"), device), [])


def test_no_memory_on_the_processor_either_is_a_device_error(fake: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Short(fake, "cpu")
    workspace, load = opened(backend), backend.open_model

    def open_model(name: str, device: str, image_size: int | None, precision: str) -> dict:
        if device == "cpu":
            raise MemoryError
        return load(name, device, image_size, precision)

    monkeypatch.setattr(backend, "open_model", open_model)
    with pytest.raises(DeviceError, match="Memory ran out"):
        predict(workspace, [])


@pytest.mark.parametrize("part", ["open_model", "open_session", "open_set"])
def test_what_is_open_waits_until_there_is_memory_to_move_it(
    fake: ModuleType, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The client knows it as open, and asks with it again once programs are closed."""
    backend = Short(fake, "cpu")
    monkeypatch.setattr(backend, "open_set", lambda _spec: backend.fake.FakeSession(BLANK), raising=False)
    workspace = opened(backend)
    workspace.open_set("images", SetSpec((SetImage(BLANK[0]),), {}), pytest.fail)
    whole = workspace.status()

    def fail(*_asked: object) -> dict:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr(backend, part, fail)
        for _ in range(2):
            with pytest.raises(DeviceError, match="Memory ran out"):
                predict(workspace, [])
            assert workspace.slice_shape("s") == workspace.image_shape("images", 0) == (16, 16)
            assert {**workspace.status(), "model": whole["model"]} == whole
        with pytest.raises(DeviceError, match="Memory ran out"):
            workspace.open_session("t", SPEC, str)
    assert predict(workspace, [])
    assert workspace.work_on_set("images", lambda opened: opened.session is not None, pytest.fail)
    assert workspace.status()["model"]["device"] == "cpu"


def test_a_model_too_large_for_the_graphics_card_is_loaded_on_the_processor(fake: ModuleType) -> None:
    notices: list[str] = []
    facts = Workspace(Short(fake, "cpu")).open_model("large", "auto", None, "auto", notices.append)
    assert facts["device"] == "cpu"
    assert len(notices) == 1


def test_the_cache_is_shared_by_the_sessions(fake: ModuleType) -> None:
    backend = Short(fake, "cpu")
    workspace = opened(backend)
    workspace.open_session("t", SPEC, pytest.fail)
    assert [session.cache_limit for session in backend.sessions] == [1 << 29, 1 << 29]
    workspace.close_session("s")
    assert backend.sessions[1].cache_limit == 1 << 30


@pytest.mark.parametrize("close", ["close_session", "close_volume"])
def test_what_is_closed_is_gone(fake: ModuleType, close: str) -> None:
    workspace = opened(Short(fake, "cpu"))
    getattr(workspace, close)({"close_session": "s", "close_volume": "v"}[close])
    with pytest.raises(WorkerError, match="no session 's'"):
        predict(workspace, [])
