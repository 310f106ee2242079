"""The set-up script says in one sentence what is missing, before it changes anything."""

import shutil
import subprocess
from pathlib import Path

import pytest
from patience import CEILING

ROOT = Path(__file__).parents[3]
SHELL = shutil.which("sh")

pytestmark = pytest.mark.skipif(SHELL is None, reason="the set-up script is for machines with a POSIX shell")


def _set_up(folder: Path, python: str) -> str:
    """Run the script in an empty project with this interpreter; it must fail, make no .venv and say one sentence."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/setup", folder / ".ci/setup")
    command = [str(SHELL), ".ci/setup", "dev"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": python}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=CEILING, check=False
    )
    assert done.returncode != 0
    assert not (folder / ".venv").exists()
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def _interpreter(folder: Path, fails_at: str) -> str:
    """A stand-in for Python 3.9 that fails where its command holds `fails_at`."""
    script = folder / "python"
    answers = "*print*) echo python3.9-venv ;; *--version*) echo Python 3.9.2"
    script.write_text(f'#!/bin/sh\ncase "$*" in {answers} ;; *{fails_at}*) exit 1 ;; esac\n', encoding="utf-8")
    script.chmod(0o755)
    return str(script)


def test_missing_interpreter(tmp_path: Path) -> None:
    assert "sudo apt install python3 python3-venv" in _set_up(tmp_path, "no-such-python")


def test_old_interpreter(tmp_path: Path) -> None:
    said = _set_up(tmp_path, _interpreter(tmp_path, "version_info"))
    assert "Python 3.10 or newer is needed" in said
    assert "Python 3.9.2" in said


def test_missing_venv_module(tmp_path: Path) -> None:
    said = _set_up(tmp_path, _interpreter(tmp_path, "ensurepip"))
    assert "sudo apt install python3.9-venv" in said
