"""Settings of a training run, read from a JSON file."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from medsam2_core.errors import WeightsError
from medsam2_core.files.text import read_json
from medsam2_core.memory_name import MEMORIES

# What the shares of a run may be of; see `unroll.Task`.
_SHARES = {"prompts": ("box", "click", "mask"), "memories": MEMORIES, "corrections": ("none", "mask", "click")}


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: `steps` steps of `clips` clips of `length` slices, in all processes together."""

    steps: int
    length: int
    clips: int


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a run depends on. `data` maps folders (see `volumes.open_folder`) to their share of the clips.

    Raises WeightsError for a share of what is not known.
    """

    model: str
    data: dict[str, float]
    phases: tuple[Phase, ...]
    image_size: int | None = None
    start_from: str | None = None  # a checkpoint to fine-tune
    learning_rate: float = 4e-4
    weight_decay: float = 0.05
    warmup_steps: int = 100
    ema: float = 0.998
    seed: int = 0
    loader_workers: int = 1
    save_every: int = 100
    accumulate: int = 1  # batches that a process's clips of a step go through one after the other
    compile_encoder: bool = True  # 2.2 s to 0.4 s per 32 slices on 2 CPU cores in the pilot
    bfloat16: bool = True
    prompts: dict[str, float] = field(default_factory=lambda: {"box": 0.65, "click": 0.2, "mask": 0.15})
    memories: dict[str, float] = field(default_factory=lambda: {"recency": 0.5, "self-sorting": 0.5})
    corrections: dict[str, float] = field(default_factory=lambda: {"none": 0.5, "mask": 0.3, "click": 0.2})
    sets: float = 0.0  # share of the clips that are sets of images in no order
    teacher_share: float = 0.5  # of the steps, over which presence goes from the truth to the model's own score

    def __post_init__(self) -> None:
        for entry, known in _SHARES.items():
            for name in getattr(self, entry):
                if name not in known:
                    raise WeightsError(f"{entry} names {name!r}: use {', '.join(known)}.")

    @property
    def steps(self) -> int:
        """All phases together."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> tuple[Phase, int, int]:
        """Return the phase step `step` belongs to, its steps still to do, and how many clips were used before."""
        used = 0
        for phase in self.phases:
            if step < phase.steps:
                return phase, phase.steps - step, used + step * phase.clips
            step -= phase.steps
            used += phase.steps * phase.clips
        raise IndexError(step)


def load_config(path: Path) -> TrainingConfig:
    """Read a configuration. Raises `WeightsError` for a file that is not one; relative folders are kept as written."""
    try:
        values: dict[str, Any] = read_json(path)
        phases = tuple(Phase(**phase) for phase in values.pop("phases"))
        return TrainingConfig(phases=phases, **values)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}): give a training configuration.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        known = ", ".join(f.name for f in fields(TrainingConfig))
        raise WeightsError(f"{path} is not a training configuration ({error}): its entries are {known}.") from error
