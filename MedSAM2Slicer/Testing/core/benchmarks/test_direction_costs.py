"""What three axes cost: the model's work is counted slice by slice, and told beside that of one axis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

import direction_costs
import measuring
from ablation import Volume
from direction_costs import MOST, STEPS, Cost
from measuring import Source
from medsam2_core.directions import ONE, THREE
from medsam2_core.model import SAM2
from medsam2_core.weights.checkpoint import save_checkpoint


@pytest.fixture
def volume(tmp_path: Path, tiny: Any) -> Volume:
    """A ball in 16 slices, and a model of random weights, which draws something on each."""
    ball = np.linalg.norm(np.indices((16, 32, 32)) - np.array((8, 16, 16))[:, None, None, None], axis=0) < 6
    folder = tmp_path / "ball"
    folder.mkdir()
    for name, array in (("image", (ball * 200).astype(np.int16)), ("labels", ball.astype(np.uint8))):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / f"{name}.nrrd"))
    save_checkpoint(tmp_path / "model.pt", tiny.state_dict(), tiny.config)
    structures = tuple(measuring.open_case(folder).structures(0))
    return Volume("Ball", Source(str(tmp_path / "model.pt"), folder, "axial"), structures)


@pytest.mark.usefixtures("single_thread")
def test_each_slice_is_counted_in_each_step(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direction_costs, "MIN_ML", 0)
    encode = SAM2.encode
    (costs,) = direction_costs.measure_costs(volume, structures=5, turns=1)
    assert SAM2.encode is encode
    assert dict(costs[ONE].slices) == {"encode": 16, "recall": 15, "decode": 16, "memorize": 16}
    assert costs[THREE].slices["recall"] > 30
    assert all(one <= MOST for name, one in costs[THREE].beside(costs[ONE]).items() if name in STEPS)
    assert costs[ONE].seconds > 0


@pytest.mark.parametrize(("seconds", "said"), [(5.6, "At most 2.80 times"), (7.0, "Up to 3.50 times")])
def test_the_worst_is_told(seconds: float, said: str) -> None:
    one, three = (Cost(dict.fromkeys(STEPS, slices), time) for slices, time in ((10, 2.0), (25, seconds)))
    text = direction_costs.told([{ONE: one, THREE: three}] * 3)
    assert "| slices through `recall` | 2.50 | 2.50 | 2.50 |" in text
    assert said in text
    assert ("more than the 3.2 meant" in text) == (seconds > MOST * 2)
