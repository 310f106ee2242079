"""Settings of a training run, read from a JSON file; each value is checked, since any program may have written it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from medsam2_core.errors import PromptError, WeightsError
from medsam2_core.files.text import TextError, read_json
from medsam2_core.memory_name import MEMORIES
from medsam2_core.run import values

# Reads the value of an entry, whose name is for messages. Raises PromptError for it, TextError for another form.
_Reader = Callable[[Any, str], Any]
_READER = "reader"

_LARGEST_RATE = 1000.0
_MOST_LOADERS = 1024
_SIZE_STEP = 32  # pixels; the image encoder halves an image so often


def _whole(least: int, most: int = values.LARGEST_SIZE) -> _Reader:
    return lambda value, where: values.whole(value, where, least, most)


def _number(least: float, most: float) -> _Reader:
    return lambda value, where: values.number(value, where, least, most)


def _optional(read: _Reader) -> _Reader:
    return lambda value, where: None if value is None else read(value, where)


def _shares(*known: str) -> _Reader:
    """Numbers by name that are shares of their sum; of any names where none are known."""

    def read(value: Any, where: str) -> dict[str, float]:
        found = {}
        for name, share in values.mapping(value, where).items():
            if known and name not in known:
                raise PromptError(f"{where} names {name!r}: use {', '.join(known)}.")
            found[name] = values.number(share, f"{where}.{name}", 0)
        if not any(found.values()):
            raise PromptError(f"{where} has no share above 0: give one a positive number.")
        return found

    return read


def _image_size(value: Any, where: str) -> int:
    size = values.whole(value, where, _SIZE_STEP, values.LARGEST_SIZE)
    if size % _SIZE_STEP:
        raise PromptError(f"{where} is {size}: give a multiple of {_SIZE_STEP}.")
    return size


def _phases(value: Any, where: str) -> tuple[Phase, ...]:
    if not isinstance(value, list) or not value:
        raise TextError(f"{where} is {values.shown(value)}, which is not a list of phases")
    return tuple(Phase(**_read(Phase, one, f"{where}[{place}]")) for place, one in enumerate(value))


def _read(table: type, raw: Any, where: str = "") -> dict[str, Any]:
    """The entries of a JSON object by the fields of `table`. Raises PromptError or TextError."""
    if not isinstance(raw, dict):
        raise TextError(f"{where or 'it'} is {values.shown(raw)}, which is not an object in braces")
    known = {one.name: one for one in fields(table)}
    names = {name: f"{where}.{name}" if where else name for name in [*raw, *known]}
    unknown = [names[name] for name in raw if name not in known]
    if unknown:
        raise TextError(f"{unknown[0]} is not known")
    needed = [one.name for one in known.values() if one.default is MISSING and one.default_factory is MISSING]
    missing = [names[name] for name in needed if name not in raw]
    if missing:
        raise TextError(f"{missing[0]} is missing")
    return {name: known[name].metadata[_READER](value, names[name]) for name, value in raw.items()}


def _entry(read: _Reader, default: Any = MISSING) -> Any:
    """A field of a configuration, with what reads its value; without a default it has to be given."""
    metadata = {_READER: read}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Phase:
    """A stretch of the training: `steps` steps of `clips` clips of `length` slices, in all processes together."""

    steps: int = _entry(_whole(1))
    length: int = _entry(_whole(1))
    clips: int = _entry(_whole(1))


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a run depends on. `data` maps folders (see `volumes.open_folder`) to their share of the clips.

    What the other shares may be of is said by `unroll.Task`.
    """

    model: str = _entry(values.text)
    data: Mapping[str, float] = _entry(_shares())
    phases: tuple[Phase, ...] = _entry(_phases)
    image_size: int | None = _entry(_optional(_image_size), None)
    start_from: str | None = _entry(_optional(values.text), None)  # a checkpoint to fine-tune
    learning_rate: float = _entry(_number(1e-12, _LARGEST_RATE), 4e-4)
    weight_decay: float = _entry(_number(0, _LARGEST_RATE), 0.05)
    warmup_steps: int = _entry(_whole(0), 100)
    ema: float = _entry(_number(0, 1), 0.998)
    seed: int = _entry(_whole(0), 0)
    loader_workers: int = _entry(_whole(0, _MOST_LOADERS), 1)
    save_every: int = _entry(_whole(1), 100)
    accumulate: int = _entry(_whole(1), 1)  # batches that a process's clips of a step go through one after the other
    compile_encoder: bool = _entry(values.flag, True)  # 2.2 s to 0.4 s per 32 slices on 2 CPU cores in the pilot
    bfloat16: bool = _entry(values.flag, True)
    prompts: Mapping[str, float] = _entry(_shares("box", "click", "mask"), {"box": 0.65, "click": 0.2, "mask": 0.15})
    memories: Mapping[str, float] = _entry(_shares(*MEMORIES), {"recency": 0.5, "self-sorting": 0.5})
    corrections: Mapping[str, float] = _entry(
        _shares("none", "mask", "click"), {"none": 0.5, "mask": 0.3, "click": 0.2}
    )
    sets: float = _entry(_number(0, 1), 0.0)  # share of the clips that are sets of images in no order
    # Of the steps, over which presence goes from the truth to the model's own score.
    teacher_share: float = _entry(_number(0, 1), 0.5)

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
        return TrainingConfig(**_read(TrainingConfig, read_json(path)))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}): give a training configuration.") from error
    except TextError as error:
        known = ", ".join(one.name for one in fields(TrainingConfig))
        raise WeightsError(f"{path} is not a training configuration ({error}): its entries are {known}.") from error
    except PromptError as error:
        raise WeightsError(f"{path}: {error}") from error
