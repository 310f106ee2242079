"""The outermost edge: exit codes, one line for what went wrong, and nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import medsam2_core
from medsam2_core.cli import models
from medsam2_core.errors import Cancelled, WeightsError


def raising(error: BaseException):
    def command(*_: object) -> int:
        raise error

    return command


def test_errors_on_purpose_are_one_sentence(run, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for error in (WeightsError("Two\n  lines."), Cancelled("Two lines.")):
        monkeypatch.setattr(models, "_open_store", raising(error))
        assert run("models", "list") == 2
        assert capsys.readouterr() == ("", "medsam2: Two lines.\n")


def test_ctrl_c_elsewhere(run, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(models, "_open_store", raising(KeyboardInterrupt()))
    assert run("models", "list") == 130
    assert capsys.readouterr().err == "medsam2: Interrupted; nothing more was written.\n"


def test_mistakes_of_ours_are_not_hidden(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_open_store", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run("models", "list")


@pytest.mark.parametrize("words", [(), ("bogus",), ("models",), ("propagate",), ("info",), ("--bogus",)])
def test_wrong_options_are_one_line(run, capsys, words: tuple[str, ...]) -> None:
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("medsam2")
    assert err.endswith("--help)\n")
    assert err.count("\n") == 1


def test_help_and_version(run, capsys) -> None:
    assert run("--help") == 0
    assert "propagate" in capsys.readouterr().out
    assert run("propagate", "--help") == 0
    assert "--box I0,J0,I1,J1@K" in capsys.readouterr().out
    assert run("--version") == 0
    assert capsys.readouterr().out == f"medsam2 {medsam2_core.__version__}\n"


def test_a_description_keeps_its_capitals(run, capsys) -> None:
    assert run("worker", "--help") == 0
    assert "Run the model for 3D Slicer" in capsys.readouterr().out


def test_help_needs_nothing_heavy() -> None:
    """The command line's own modules; `medsam2_core/__init__` is stood in for, since that is another matter."""
    code = f"""
import sys, types
package = types.ModuleType("medsam2_core")
package.__path__ = [{str(Path(medsam2_core.__file__).parent)!r}]
sys.modules["medsam2_core"] = package
from medsam2_core.cli import main
main._parser().format_help()
print([name for name in ("torch", "numpy", "SimpleITK") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "[]\n"


def test_little_is_imported_before_ctrl_c_is_answered() -> None:
    code = (
        "import sys, medsam2_core.cli.main; print(*(name for name in sys.modules if name.startswith('medsam2_core.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert not {"medsam2_core.cli.images", "medsam2_core.job.prompt_options"} & set(done.stdout.split())
    assert len(done.stdout.split()) < 12
