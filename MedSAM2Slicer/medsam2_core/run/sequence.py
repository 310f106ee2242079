"""The runs that made a segment: a first propagation, then corrections of parts of it, in one session.

A run file holds the last run as if it were the only one, and those before it in "earlier", the first one first:

    {"objects": [{"name": "liver", "prompts": [{"kind": "box", ...}, {"kind": "mask", ...}]}],
     "settings": {"range": [64, 97], ...},
     "earlier": [{"settings": {"range": [0, 133]}, "objects": [{"name": "liver", "prompts": [0]}]}]}

An earlier run names only the settings that differ, and a prompt that the last run has too is its place there. Model,
axis, window, memory and field of view are those of the session and cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from medsam2_core.counting import counted
from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import Slicing
from medsam2_core.run.file import RunFile, place_file_prompts
from medsam2_core.run.file_settings import OF_ONE_RUN, place_rules
from medsam2_core.run.prompts import Prompt, RunObject, make_objects, merge_points
from medsam2_core.run.report import describe_prompts, describe_rules
from medsam2_core.run.settings import RunSettings, plain_settings, rows_of
from medsam2_core.setting import rows
from medsam2_core.stopping import CancelToken, StopRules

Json = dict[str, Any]


@dataclass(frozen=True)
class PlacedRun:
    """One run in a volume: its objects, the slices first <= index < last, and stop rules on the volume's grid.

    `rounds` as in `RunSettings`. `others` are the further settings of the part "run", by name, which
    `VolumeSession.propagate` takes; those that are not in it are as usual.
    """

    objects: tuple[RunObject, ...]
    first: int
    last: int
    direction: str
    stop: StopRules
    rounds: int | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(objects: Sequence[RunObject], settings: Mapping[str, Any]) -> PlacedRun:
        """A run with all settings of the part "run"."""
        own = {one.name for one in fields(PlacedRun)} & settings.keys()
        others = {name: value for name, value in settings.items() if name not in own}
        return PlacedRun(tuple(objects), **{name: settings[name] for name in own}, others=others)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the part "run", by name; see `RunSettings`."""
        known = {**vars(self), **self.others}
        return {row.name: known.get(row.name, row.default) for row in rows(RunSettings) if row.part == "run"}

    @property
    def expected_slices(self) -> int:
        """Slices it goes through unless a stop rule ends it."""
        prompted = [index for item in self.objects for index in item.slices if self.first <= index < self.last]
        first = min(prompted) if self.direction == "forward" and prompted else self.first
        last = max(prompted) + 1 if self.direction == "backward" and prompted else self.last
        return last - first


class RoundLimit(CancelToken):
    """Ends a propagation after as many rounds as it once came to (None: no limit), or when `stopped` says so.

    In a round each track goes on by a slice, so their number is the same for one of several objects alone: as long as
    all go along one axis, so that a run with a limit stays `partial` and never comes to the others.
    """

    def __init__(self, rounds: int | None, stopped: CancelToken) -> None:
        super().__init__()
        self.done = self.planned = self.rounds = 0
        self._limit, self._stopped = rounds, stopped

    def count(self, done: int, planned: int) -> None:
        """Note the slices done and planned, as a session tells them: once for each slice of a round."""
        self.rounds += done != self.done
        self.done, self.planned = done, planned

    @property
    def rounds_if_stopped(self) -> int | None:
        """The rounds that repeat the propagation; None if it came to its own end, whatever was asked meanwhile."""
        return None if 0 < self.planned <= self.done else self.rounds

    @property
    def partial(self) -> bool:
        """See `CancelToken`."""
        return self._limit is not None

    @property
    def cancelled(self) -> bool:
        """Whether it is enough."""
        return self._stopped.cancelled or (self._limit is not None and self.rounds >= self._limit)


def place_runs(run: RunFile, slicing: Slicing) -> list[PlacedRun]:
    """The runs of a file in a volume, the last one last. Raises PromptError for what does not fit."""
    shared: dict[int, list[Prompt]] = {}
    prompts = {item.name: place_file_prompts(item, slicing, run.path, shared) for item in run.objects}
    labels = {item.name: item.label for item in run.objects if item.label is not None}
    colors = {item.name: item.color for item in run.objects if item.color is not None}
    objects = make_objects(prompts, labels, colors, corrects=run.recorded)
    segments = {item.segment.name: item.segment for item in objects}
    earlier = [
        [
            RunObject(segments[item.name], merge_points(place_file_prompts(item, slicing, one.path, shared)))
            for item in one.objects
        ]
        for one in run.earlier
    ]
    runs = zip((*run.earlier, run), (*earlier, objects), strict=True)
    return [_placed(one, its_objects, slicing) for one, its_objects in runs]


def whole_runs(report: Json) -> list[Json]:
    """The runs of a checked report, the last one last, each with all that is its own."""
    last = report.get("settings", {})
    usual = {row.key: row.default for row in rows_of("run")}
    settings = {key: last.get(key, usual.get(key)) for key in OF_ONE_RUN}
    known = {item["name"]: item["prompts"] for item in report["objects"]}
    runs = [
        {
            "settings": {**settings, **run.get("settings", {})},
            "objects": [
                {"name": item["name"], "prompts": [_resolved(one, known[item["name"]]) for one in item["prompts"]]}
                for item in run["objects"]
            ],
        }
        for run in report.get("earlier", [])
    ]
    return [*runs, {"settings": settings, "objects": [{"name": name, "prompts": known[name]} for name in known]}]


def describe_earlier(run: PlacedRun, slicing: Slicing) -> Json:
    """A run as one of `whole_runs`."""
    settings = run.settings
    return {
        "settings": {
            "range": [run.first, run.last],
            "stop": describe_rules(run.stop),
            **{row.key: settings[row.name] for row in rows_of("run")},
        },
        "objects": [{"name": item.segment.name, "prompts": describe_prompts(item, slicing)} for item in run.objects],
    }


def with_earlier(report: Json, runs: Iterable[Json]) -> Json:
    """The report of a run that followed `runs`, which are as `whole_runs` gives them."""
    own = report["settings"]
    known = {item["name"]: item["prompts"] for item in report["objects"]}
    earlier = [
        {
            "settings": {key: run["settings"][key] for key in OF_ONE_RUN if run["settings"][key] != own.get(key)},
            "objects": [
                {"name": item["name"], "prompts": [_shortened(one, known[item["name"]]) for one in item["prompts"]]}
                for item in run["objects"]
                if item["name"] in known
            ],
        }
        for run in runs
    ]
    return {**report, "earlier": earlier} if earlier else report


def _placed(run: RunFile, objects: Sequence[RunObject], slicing: Slicing) -> PlacedRun:
    settings = run.settings
    first, last = settings.range or (0, slicing.count)
    if not 0 <= first < last <= slicing.count:
        raise PromptError(
            f"{run.path}: The range {first}:{last} does not fit {counted(slicing.count, 'slice')} along axis "
            f"{slicing.axis}: use the volume and axis of the run that wrote it."
        )
    stop, plain = place_rules(settings.stop or {}, slicing.geometry.shape_kji), plain_settings(vars(settings))
    own = {row.name: plain[row.name] for row in rows_of("run")}
    return PlacedRun.of(objects, {"first": first, "last": last, "stop": stop, **own})


def _resolved(prompt: Any, last: Sequence[Json]) -> Any:
    return last[prompt] if isinstance(prompt, int) else prompt


def _shortened(prompt: Json, last: Sequence[Json]) -> Any:
    return last.index(prompt) if prompt in last else prompt
