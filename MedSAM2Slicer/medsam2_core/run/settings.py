"""What a run is made with: the table of its settings. Imports nothing heavy, for the command line's help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from medsam2_core.directions import AXES, ONE
from medsam2_core.limits import SMOOTHING_MM, THRESHOLD
from medsam2_core.memory_name import DEFAULT_MEMORY, parse_memory
from medsam2_core.setting import Choice, Option, Setting, Structure, Text, Whole, plain_rows, rows, setting
from medsam2_core.stopping import StopRules

if TYPE_CHECKING:
    from medsam2_core.image.slicing import SliceStack  # these bring numpy
    from medsam2_core.image.window import Window

_AXES = ("axial", "coronal", "sagittal", "0", "1", "2")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run is made with, in the order of its record.

    Settings are of a part: of the "model"; of the "slices"; of the "session", which all runs in it share; of the "run"
    alone; of the "drawing" of masks from what a run found.

    model: a catalog name, or the name of the checkpoint file; model_sha256: of that file.
    image_size: side of the model's input, pixels. stack: the slices. first, last: half-open range of them.
    memory: as `memory_name` reads it. field_of_view: "whole" or "zoom". device: "cpu", "cuda" or "mps".
    precision: the numbers that products of the model are made of, see `model.precision`.
    rounds: slices that each track had gone when somebody stopped it; None if nobody did.
    threshold: the probability of a pixel of the object; smoothing_mm: of a Gaussian across slices; largest, fill_holes:
    as in `cleaning.Cleaning`.

    Before the model is loaded nobody knows its checksum or, as 0, its size; device, precision
    and field of view may be "auto": `of_model` puts in what came of them.
    """

    model: str = setting(
        Text(), "starter", part="model",
        option=Option("--model", "a name from `medsam2 models list`, or a file (default: {default})", "NAME|FILE"),
    )  # fmt: skip
    model_sha256: str = setting(Text(), "", part="model")
    image_size: int = setting(Whole(64, 4096), 0, part="model", unit="pixels")
    stack: SliceStack = setting(
        Structure(), part="slices", key="axis",
        option=Option("--axis", "axis to cut slices along; 0 1 2 = k j i (default: 0)", choices=_AXES),
    )  # fmt: skip
    window: Window = setting(
        Structure(), part="slices",
        option=Option("--window", "such as lung or 40/400 (default: auto)", "NAME|LEVEL/WIDTH|auto"),
    )  # fmt: skip
    first: int = setting(
        Structure(), part="run", key="range",
        option=Option("--range", "slices from A up to, not including, B; either may be omitted (default: all)", "A:B"),
    )  # fmt: skip
    last: int = setting(Structure(), part="run", key="range")
    direction: str = setting(
        Choice(("both", "forward", "backward")), "both", part="run", option=Option("--direction", "default: {default}")
    )
    directions: str = setting(
        Choice(tuple(AXES)), ONE, part="run",
        option=Option("--directions", "axes to follow objects along: that of the slices, or all (default: {default})"),
    )  # fmt: skip
    memory: str = setting(
        Text(parse_memory), DEFAULT_MEMORY, part="session",
        option=Option("--memory", "recency (default), pooled, self-sorting or self-sorting:SIZE", "BANK"),
    )  # fmt: skip
    field_of_view: str = setting(
        Choice(("auto", "whole", "zoom")), "auto", part="session",
        option=Option("--field-of-view", "default: {default}, by the model"),
    )  # fmt: skip
    stop: StopRules = setting(Structure(), StopRules(), part="run")
    threshold: float = setting(
        THRESHOLD, 0.5, part="drawing",
        option=Option("--threshold", "least probability of a pixel (default: {default:g})", "P"),
    )  # fmt: skip
    smoothing_mm: float = setting(
        SMOOTHING_MM, 0.0, part="drawing", unit="mm",
        option=Option("--smooth", "sigma of a Gaussian across slices (default: {default:g})"),
    )  # fmt: skip
    largest: str = setting(
        Choice(("off", "slice", "3d", "prompt")), "off", part="drawing",
        option=Option("--largest", "parts to keep: all, largest of a slice or all, with a prompt (default: {default})"),
    )  # fmt: skip
    fill_holes: str = setting(
        Choice(("off", "on")), "off", part="drawing",
        option=Option("--fill-holes", "of each slice (default: {default})"),
    )  # fmt: skip
    device: str = setting(
        Choice(("auto", "cpu", "cuda", "mps")), "auto", part="model", option=Option("--device", "default: {default}")
    )
    precision: str = setting(
        Choice(("auto", "float32", "bfloat16", "float16")), "auto", part="model",
        option=Option("--precision", "numbers to compute in (default: {default}, by the processor or graphics card)"),
    )  # fmt: skip
    rounds: int | None = setting(Whole(), None, part="run", optional=True)

    def of(self, part: str) -> dict[str, Any]:
        """The settings of a part by their names."""
        return {row.name: getattr(self, row.name) for row in rows(RunSettings) if row.part == part}

    def of_model(self, facts: Mapping[str, Any]) -> RunSettings:
        """The settings with what is known of the loaded model, as the worker tells it, where it tells anything."""
        view = facts.get("field_of_view", "auto") if self.field_of_view == "auto" else self.field_of_view
        return replace(
            self,
            model=str(facts.get("name", self.model)),
            model_sha256=str(facts.get("sha256", self.model_sha256)),
            image_size=int(facts.get("image_size", self.image_size)),
            device=str(facts.get("device", self.device)),
            precision=str(facts.get("precision", self.precision)),
            field_of_view=str(view),
        )


@dataclass(frozen=True)
class FileSettings:
    """The settings that a run file names; None for the others. `stop` holds checked rules as the file has them."""

    model: str | None = None
    model_sha256: str | None = None
    image_size: int | None = None
    stack: SliceStack | None = None
    window: Window | None = None
    range: tuple[int, int] | None = None
    direction: str | None = None
    directions: str | None = None
    memory: str | None = None
    field_of_view: str | None = None
    device: str | None = None
    precision: str | None = None
    stop: Mapping[str, Any] | None = None
    rounds: int | None = None
    threshold: float | None = None
    smoothing_mm: float | None = None
    largest: str | None = None
    fill_holes: str | None = None


def rows_of(part: str) -> tuple[Setting, ...]:
    """The rows of a part whose values are numbers or text."""
    return tuple(row for row in plain_rows(RunSettings) if row.part == part)


def usual(part: str) -> dict[str, Any]:
    """The defaults of a part's settings that are numbers or text, by name."""
    return {row.name: row.default for row in rows_of(part)}


def plain_settings(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are numbers or text, each from the first of the sources that has it, else its default.

    None counts as missing; `vars` of a `FileSettings` is such a source.
    """
    return {
        row.name: next((one[row.name] for one in sources if one.get(row.name) is not None), row.default)
        for row in plain_rows(RunSettings)
    }
