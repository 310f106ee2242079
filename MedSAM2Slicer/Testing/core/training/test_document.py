"""docs/training.md names every entry of a configuration, and its example is one."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from medsam2_core.training.config import TrainingConfig, load_config

TEXT = (Path(__file__).parents[4] / "docs" / "training.md").read_text(encoding="utf-8")


def test_every_entry_is_explained_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\|", TEXT, re.MULTILINE))
    assert set(rows) == {field.name for field in fields(TrainingConfig)}
    config = TrainingConfig("starter", {}, ())
    for name in ("learning_rate", "warmup_steps", "weight_decay", "ema", "seed", "save_every", "teacher_share"):
        assert float(rows[name]) == getattr(config, name)
    for name in ("prompts", "memories", "corrections"):
        assert rows[name] == ", ".join(f"{choice} {share:g}" for choice, share in getattr(config, name).items())


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    (text,) = re.findall(r"<<'END'\n(.*?)\nEND", TEXT, re.DOTALL)
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    config = load_config(path)
    assert (config.steps, config.learning_rate) == (150, 2e-5)
    assert (Path(__file__).parents[4] / str(config.start_from)).is_file()
