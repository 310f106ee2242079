"""The four steps that a slice takes, each by itself: what it computes and moves, and how long that takes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from medsam2_core.config import ModelConfig
from medsam2_core.model import SAM2, ImageFeatures, Recall, SliceOutput, SlicePrompts
from medsam2_core.model.precision import convert


@dataclass(frozen=True)
class Step:
    """One step of a tracked slice: a call, the parts of the model it reads, and what it takes in."""

    run: Callable[[], object]
    parts: tuple[nn.Module, ...]
    inputs: tuple[object, ...]


@dataclass(frozen=True)
class Work:
    """What has to be done: floating-point operations, and bytes of weights, inputs and results, each moved once."""

    flops: float
    bytes: float


def steps(model: SAM2) -> dict[str, Step]:
    """The steps of a slice of one object whose memory is full, on the model's device, with inputs of no meaning."""
    config, device = model.config, model.device
    image = torch.zeros(1, 1, config.image_size, config.image_size, device=device)
    features, recall, output = _features(config, device), _recall(config, device), _output(config, device)
    prompts = SlicePrompts.none(1, device)
    decoder = model.sam_mask_decoder
    return {
        "encode": Step(lambda: model.encode(image), (model.image_encoder, decoder.conv_s0, decoder.conv_s1), (image,)),
        "recall": Step(
            lambda: model.recall(features.embedding, [recall]),
            (model.memory_attention,),
            (features.embedding, recall.memories, recall.pointers),
        ),
        "decode": Step(
            lambda: model.decode(features.embedding, features, prompts, config.multimask_tracking),
            (decoder, model.sam_prompt_encoder, model.obj_ptr_proj),
            tuple(features),
        ),
        "memorize": Step(
            lambda: model.memorize(features.embedding, output.logits, output.object_score, prompted=False),
            (model.memory_encoder,),
            (features.embedding, output.logits),
        ),
    }


def work(config: ModelConfig, precision: torch.dtype = torch.float32) -> dict[str, Work]:
    """What each step computes and moves, counted without a value being computed."""
    with torch.device("meta"):
        model = convert(SAM2(config).eval().requires_grad_(False), precision)
    return {name: _count(step) for name, step in steps(model).items()}


def seconds(step: Step, device: torch.device, repeats: int) -> float:
    """Median seconds of a step that ran once before."""
    with torch.inference_mode():
        timed = [_once(step, device) for _ in range(repeats + 1)]
    return statistics.median(timed[1:])


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _once(step: Step, device: torch.device) -> float:
    wait_for(device)
    started = time.perf_counter()
    step.run()
    wait_for(device)
    return time.perf_counter() - started


def _count(step: Step) -> Work:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = step.run()
    weights = (weight for part in step.parts for weight in part.parameters())
    moved = sum(tensor.numel() * tensor.element_size() for tensor in _tensors([*weights, *step.inputs, result]))
    return Work(counter.get_total_flops(), moved)


def _tensors(values: Iterable[object]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, ImageFeatures):
            yield from value
        elif isinstance(value, SliceOutput):
            yield from (value.logits, value.pointer)


def _features(config: ModelConfig, device: torch.device) -> ImageFeatures:
    side, dim = config.grid_size, config.hidden_dim
    sizes = ((dim, side), (dim // 8, 4 * side), (dim // 4, 2 * side))
    return ImageFeatures(*(torch.zeros(1, channels, size, size, device=device) for channels, size in sizes))


def _recall(config: ModelConfig, device: torch.device) -> Recall:
    side, maps, pointers = config.grid_size, config.recent_memories + 1, config.object_pointers
    return Recall(
        memories=torch.zeros(maps, config.memory_dim, side, side, dtype=torch.bfloat16, device=device),
        ages=torch.arange(maps, device=device),
        log_weights=None,
        pointers=torch.zeros(pointers, config.hidden_dim, device=device),
        distances=torch.zeros(pointers, device=device),
    )


def _output(config: ModelConfig, device: torch.device) -> SliceOutput:
    logits = torch.zeros(1, config.mask_size, config.mask_size, device=device)
    one = torch.ones(1, device=device)
    return SliceOutput(logits, one, one, torch.zeros(1, config.hidden_dim, device=device))


def total(parts: Iterable[Work]) -> Work:
    """The work of several steps."""
    listed = list(parts)
    return Work(math.fsum(part.flops for part in listed), math.fsum(part.bytes for part in listed))
