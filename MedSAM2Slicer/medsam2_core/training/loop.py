"""The training loop: resumes where it was stopped, keeps an average of the weights, logs one line per few steps."""

from __future__ import annotations

import csv
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from medsam2_core.config import get_config
from medsam2_core.memory_bank import MEMORY_RULES
from medsam2_core.model import SAM2
from medsam2_core.training.clips import Clip, ClipDataset
from medsam2_core.training.config import Phase, TrainingConfig
from medsam2_core.training.losses import slice_loss
from medsam2_core.training.unroll import Task, unroll
from medsam2_core.training.volumes import open_folder
from medsam2_core.weights.checkpoint import load_state, read_checkpoint, save_checkpoint

_LOG_EVERY = 20


def train(config: TrainingConfig, folder: Path, device: torch.device) -> Path:
    """Train, or resume training, in `folder`; returns the checkpoint of the averaged weights.

    Writes `state.pt` (to resume), `log.csv` and `model.pt`. A run that was interrupted loses at most `save_every`
    steps and continues with the clips it would have seen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(config, folder, device)
    with tqdm(total=config.steps, initial=run.step, desc="training") as bar:
        while run.step < config.steps:
            run.phase(bar)
    run.save()
    return run.model_path


class _Run:
    def __init__(self, config: TrainingConfig, folder: Path, device: torch.device) -> None:
        self.config, self.device = config, device
        self.model_path, self._state_path = folder / "model.pt", folder / "state.pt"
        self._log = _Log(folder / "log.csv")
        self.model = _build(config).to(device).train()
        self._average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self._optimizer = torch.optim.AdamW(_groups(self.model, config.weight_decay), betas=(0.9, 0.98))
        self._sources = [(share, open_folder(Path(path))) for path, share in config.data.items()]
        self.step = 0
        if self._state_path.exists():
            self._resume()
        if config.compile_encoder:
            self.model.image_encoder.compile()

    def _resume(self) -> None:
        state = torch.load(self._state_path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._average = state["average"]
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def save(self) -> None:
        """Write the averaged weights and all that resuming needs, each file whole or not at all."""
        save_checkpoint(self.model_path, self._average, self.model.config)
        part = self._state_path.with_suffix(".part")
        state = {"model": self.model.state_dict(), "average": self._average, "step": self.step}
        torch.save({**state, "optimizer": self._optimizer.state_dict()}, part)
        part.replace(self._state_path)

    def phase(self, bar: tqdm[Any]) -> None:
        """Run the rest of the current phase."""
        phase, steps, used = self.config.phase_at(self.step)
        for clips in itertools.islice(self._loader(phase, used), steps):
            started = time.perf_counter()
            parts = self._one_step(clips)
            self.step += 1
            bar.update()
            self._log.add(self.step, parts, clips.images.shape[0] * clips.images.shape[1], started)
            if self.step % self.config.save_every == 0:
                self.save()

    def _loader(self, phase: Phase, used: int) -> Iterator[Clip]:
        dataset = ClipDataset(self._sources, phase.length, self.model.config.image_size, self.config.seed)
        workers = self.config.loader_workers
        return iter(DataLoader(dataset, phase.clips, sampler=_From(used), num_workers=workers, drop_last=True))

    def _one_step(self, clips: Clip) -> dict[str, float]:
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        clips = Clip(*(part.to(self.device) for part in clips))
        task = self._task(clips.images.shape[1], generator)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16), _attention(self.device):
            decoded = unroll(self.model, clips, task, generator)
        losses = [slice_loss(one.decoded, one.truth, one.ambiguous) for one in decoded]
        loss = torch.stack([total for total, _ in losses]).mean()
        self._descend(loss)
        names = losses[0][1]
        return {"loss": loss.item()} | {n: sum(p[n].item() for _, p in losses) / len(losses) for n in names}

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

    def _descend(self, loss: Tensor) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = _learning_rate(self.config, self.step)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        # The average follows closely at first, when old weights are worth little.
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self._average[name].lerp_(value.detach(), 1 - keep)


class _From(Sampler[int]):
    """Count up from a number, so that every clip of a run is new and a resumed run goes on counting."""

    def __init__(self, start: int) -> None:
        self._start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self._start)


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


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    """Plain matrix products for attention on a CPU: its fused kernel's gradient took 30 % of a step.

    1.22 s to 1.04 s for 32 slices of 128 pixels on one core.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _draw(shares: dict[str, float], generator: torch.Generator) -> str:
    chosen = torch.multinomial(torch.tensor(list(shares.values())), 1, generator=generator)
    return list(shares)[int(chosen)]
