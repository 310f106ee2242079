"""The training loop: resumes where it was stopped, keeps an average of the weights, logs one line per few steps."""

from __future__ import annotations

import csv
import itertools
import math
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from medsam2_core.config import get_config
from medsam2_core.counting import counted
from medsam2_core.errors import WeightsError, says_no_memory
from medsam2_core.memory_bank import MEMORY_RULES
from medsam2_core.model import SAM2
from medsam2_core.training.clips import Clip, ClipDataset
from medsam2_core.training.config import Phase, TrainingConfig
from medsam2_core.training.ranks import Ranks
from medsam2_core.training.step import ClipsLoss
from medsam2_core.training.unroll import Task
from medsam2_core.training.volumes import open_folder
from medsam2_core.weights.checkpoint import load_state, read_checkpoint, save_checkpoint, save_whole

_LOG_EVERY = 20
# What a state that is damaged, or of another model, raises where it is read.
_UNFIT = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError)


def train(config: TrainingConfig, folder: Path, ranks: Ranks) -> Path:
    """Train, or resume training, in `folder`, as one of `ranks`; returns the checkpoint of the averaged weights.

    Writes `state.pt` (to resume), `log.csv` and `model.pt`. A run that was interrupted loses at most `save_every`
    steps and continues with the clips it would have seen, also by another number of processes.
    Raises WeightsError where the processes cannot share the clips of a step equally, and for a state that is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_shares(config, ranks)
    run = _Run(config, folder, ranks)
    with tqdm(total=config.steps, initial=run.step, desc="training", disable=not ranks.is_first) as bar:
        while run.step < config.steps:
            run.phase(bar)
    run.save()
    return run.model_path


class _Run:
    def __init__(self, config: TrainingConfig, folder: Path, ranks: Ranks) -> None:
        self.config, self._ranks, self.device = config, ranks, ranks.device
        self.model_path, self._state_path = folder / "model.pt", folder / "state.pt"
        self._log = _Log(folder / "log.csv")
        self.model = _build(config).to(self.device).train()
        self._average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self._optimizer = torch.optim.AdamW(_groups(self.model, config.weight_decay), betas=(0.9, 0.98))
        self._sources = [(share, open_folder(Path(path))) for path, share in config.data.items()]
        self.step = 0
        if self._state_path.exists():
            self._resume()
        if config.compile_encoder:
            self.model.image_encoder.compile()
        self._loss: nn.Module = ClipsLoss(self.model, config.bfloat16)
        if ranks.count > 1:  # a step goes through some of the parameters, its task says which
            self._loss = DistributedDataParallel(self._loss, broadcast_buffers=False, find_unused_parameters=True)

    def _resume(self) -> None:
        try:
            state = torch.load(self._state_path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            for name, value in self._average.items():
                value.copy_(state["average"][name])
            self.step = int(state["step"])
        except _UNFIT as error:
            if says_no_memory(error):
                raise
            raise WeightsError(
                f"{self._state_path} cannot be resumed from: it is damaged, or of another model than the "
                "configuration's; delete it to start again, or choose another --output."
            ) from error

    def save(self) -> None:
        """Write the averaged weights and all that resuming needs, each file whole or not at all; once for all ranks."""
        if not self._ranks.is_first:
            return
        save_checkpoint(self.model_path, self._average, self.model.config)
        state = {"model": self.model.state_dict(), "average": self._average, "step": self.step}
        save_whole(self._state_path, {**state, "optimizer": self._optimizer.state_dict()})

    def phase(self, bar: tqdm[Any]) -> None:
        """Run the rest of the current phase."""
        phase, steps, used = self.config.phase_at(self.step)
        batches = self._loader(phase, used)
        for _ in range(steps):
            started = time.perf_counter()
            parts = self._one_step(list(itertools.islice(batches, self.config.accumulate)))
            self.step += 1
            bar.update()
            if self._ranks.is_first:
                self._log.add(self.step, parts, phase.clips * phase.length, started)
            if self.step % self.config.save_every == 0:
                self.save()

    def _loader(self, phase: Phase, used: int) -> Iterator[Clip]:
        """The batches of this process, `accumulate` of them for a step."""
        config, image_size = self.config, self.model.config.image_size
        dataset = ClipDataset(self._sources, phase.length, image_size, config.seed, config.sets)
        size = phase.clips // (self._ranks.count * config.accumulate)
        sampler, workers = _Own(used, size, self._ranks), config.loader_workers
        return iter(DataLoader(dataset, size, sampler=sampler, num_workers=workers, drop_last=True))

    def _one_step(self, batches: Sequence[Clip]) -> dict[str, float]:
        """Learn from the batches of a step, of which other processes have others; the parts of the loss, of these."""
        first = self._generator(0)
        task = self._task(batches[0].images.shape[1], first)
        self._optimizer.zero_grad(set_to_none=True)
        found = []
        for place, clips in enumerate(batches):
            share = place * self._ranks.count + self._ranks.rank
            generator = first if share == 0 else self._generator(share)
            with self._summing(is_last=place == len(batches) - 1):
                moved = Clip(*(part.to(self.device) for part in clips))
                loss, parts = self._loss(moved, task, generator)
                (loss / len(batches)).backward()
            found.append({name: part.item() for name, part in parts.items()})
        self._descend()
        return {name: sum(parts[name] for parts in found) / len(found) for name in found[0]}

    def _summing(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """Gradients of all batches but the last one of a step stay in their process."""
        alone = is_last or not isinstance(self._loss, DistributedDataParallel)
        return nullcontext() if alone else self._loss.no_sync()  # type: ignore[operator]

    def _generator(self, share: int) -> torch.Generator:
        """What draws for a batch of this step; each batch has its own, whatever process it is in."""
        seed = self.config.seed * 1_000_003 + self.step
        return torch.Generator().manual_seed(seed if share == 0 else seed * 4099 + share)

    def _task(self, length: int, generator: torch.Generator) -> Task:
        prompt = _draw(self.config.prompts, generator)
        if prompt == "mask" and length == 1:
            prompt = "box"  # an adopted mask alone teaches nothing
        correction = _draw(self.config.corrections, generator)
        if correction == "mask" and length == 2:
            correction = "none"  # nor do two of them
        return Task(
            prompt,
            MEMORY_RULES[_draw(self.config.memories, generator)],
            correction,
            teacher=max(0.0, 1 - self.step / max(self.config.teacher_share * self.config.steps, 1)),
        )

    def _descend(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = _learning_rate(self.config, self.step)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        # The average follows closely at first, when old weights are worth little.
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self._average[name].lerp_(value.detach(), 1 - keep)


def _check_shares(config: TrainingConfig, ranks: Ranks) -> None:
    """Raise WeightsError unless each batch of a step has as many clips."""
    if config.accumulate < 1:
        raise WeightsError(f"accumulate is {config.accumulate}: give a number of batches from 1.")
    batches = ranks.count * config.accumulate
    for phase in config.phases:
        if phase.clips % batches:
            raise WeightsError(
                f"A step of {counted(phase.clips, 'clip')} cannot be shared equally by "
                f"{counted(ranks.count, 'process')} of {counted(config.accumulate, 'batch')} each: make clips "
                f"a multiple of {batches}."
            )


class _Own(Sampler[int]):
    """The clips of one process: batches of `size` count up from a number, and each process takes those of its rank.

    So every clip of a run is new, and a resumed run goes on counting.
    """

    def __init__(self, start: int, size: int, ranks: Ranks) -> None:
        self._start, self._size, self._ranks = start, size, ranks

    def __iter__(self) -> Iterator[int]:
        for batch in itertools.count(self._ranks.rank, self._ranks.count):
            yield from range(self._start + batch * self._size, self._start + (batch + 1) * self._size)


class _Log:
    """A CSV file with the means of every few steps."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, float]] = []

    def add(self, step: int, parts: dict[str, float], slices: int, started: float) -> None:
        self._rows.append({**parts, "slices_per_second": slices / (time.perf_counter() - started)})
        if step % _LOG_EVERY:
            return
        means = {name: sum(row[name] for row in self._rows) / len(self._rows) for name in self._rows[0]}
        self._rows.clear()
        new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", *means])
            writer.writerow([step, *(f"{value:.4f}" for value in means.values())])


def _build(config: TrainingConfig) -> SAM2:
    if config.start_from is not None:
        return load_state(read_checkpoint(Path(config.start_from), config.image_size))
    torch.manual_seed(config.seed)
    shape = get_config(config.model)
    return SAM2(shape if config.image_size is None else shape.at_size(config.image_size))


def _groups(model: SAM2, weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    return config.learning_rate * warm * (0.505 + 0.495 * math.cos(math.pi * step / config.steps))


def _draw(shares: Mapping[str, float], generator: torch.Generator) -> str:
    chosen = torch.multinomial(torch.tensor(list(shares.values()), dtype=torch.float32), 1, generator=generator)
    return list(shares)[int(chosen)]
