"""The worker's command line, run for real wherever a Python is all it takes."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from patience import CEILING

from medsam2_core.errors import WorkerError
from MedSAM2SlicerLib.worker.commands import (
    Finished,
    Origin,
    WorkerCommand,
    foreignEnvironment,
    runProgram,
    splitCommand,
    workerCommand,
)

MODULE = Path(__file__).parents[3]
ECHO = "import json, os, sys\ndef run():\n    print(json.dumps([__file__, sys.argv[1:], sys.path, dict(os.environ)]))\n"


@pytest.fixture
def module_folder(tmp_path: Path) -> Path:
    """An extension's folder, with blanks in its path, whose command line tells where it is and how it was called."""
    folder = tmp_path / "Slicer 5.12" / "qt scripted modules"
    cli = folder / "medsam2_core" / "cli"
    cli.mkdir(parents=True)
    (folder / "medsam2_core" / "__init__.py").touch()
    (cli / "__init__.py").touch()
    (cli / "main.py").write_text(ECHO, encoding="utf-8")
    return folder


def _run(command: WorkerCommand) -> Finished:
    return runProgram(command.arguments, command.environment)


def test_slicers_own_python_runs_the_extensions_code(module_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(module_folder.parent)
    command = workerCommand("", module_folder)
    assert command.origin is Origin.SLICER
    assert command.python == sys.executable
    assert command.environment is None
    file, arguments, path, _ = json.loads(_run(command).output)
    assert Path(file) == module_folder / "medsam2_core/cli/main.py"
    assert arguments == ["worker"]
    assert path[0] == str(module_folder)
    assert "" not in path
    assert str(module_folder.parent) not in path  # the current folder


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP does not tell what it goes by")
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed in this Python")
def test_threads_that_wait_sleep_in_what_it_starts() -> None:
    """As `core/test_processor.py` has it for the other ways to start the worker."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = workerCommand("", MODULE).sibling("doctor")
    done = runProgram(command.arguments, environment | {"OMP_DISPLAY_ENV": "VERBOSE"}, CEILING)
    assert "GOMP_SPINCOUNT = '0'" in done.errors


def test_the_real_command_line_starts_this_way() -> None:
    done = _run(workerCommand(" ", MODULE).sibling("--version"))
    assert done.code == 0, done.errors
    assert done.output.startswith("medsam2 ")
    done = _run(workerCommand("", MODULE).sibling("worker", "--help"))
    assert done.code == 0, done.errors


def test_another_python_is_kept_from_slicers_settings(module_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = module_folder / "my env" / "python3"
    other.parent.mkdir()
    other.symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    for text in (str(other), f'"{other}"', f" {other} "):
        command = workerCommand(text, module_folder)
        assert command.origin is Origin.PYTHON
        assert command.python == str(other)
        done = _run(command)
        file, arguments, _, environment = json.loads(done.output)
        assert Path(file).is_relative_to(module_folder)
        assert arguments == ["worker"]
        assert not {"PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH"} & environment.keys()


def test_the_environment_before_slicer_wins(module_folder: Path) -> None:
    before = {"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/opt/cuda", "SSH_AUTH_SOCK": "/run/agent"}
    assert workerCommand("ssh gpu medsam2 worker", module_folder, before).environment == before
    assert foreignEnvironment(before) == {"PATH": "/usr/bin", "SSH_AUTH_SOCK": "/run/agent"}


@pytest.mark.parametrize("text", ["python3", "python3.12", "Python.exe"])
def test_an_interpreter_on_the_path_runs_the_extensions_code(text: str) -> None:
    command = workerCommand(text, MODULE, {})
    assert command.origin is Origin.PYTHON
    assert command.arguments[0] == text
    assert command.arguments[-2:] == (str(MODULE), "worker")


@pytest.mark.parametrize(
    "text",
    [
        "ssh gpu-host medsam2 worker",
        "srun --gres=gpu:1 medsam2 worker",
        "python3 -m medsam2_core.worker",
        "/opt/my\\ env/bin/medsam2 worker",
        "ssh gpu-host 'source /opt/env/bin/activate && medsam2 worker'",
    ],
)
def test_anything_else_is_run_as_typed(text: str) -> None:
    command = workerCommand(text, MODULE, {})
    assert command.origin is Origin.TYPED
    assert command.python is None
    assert list(command.arguments) == shlex.split(text)
    assert workerCommand(str(command), MODULE, {}) == command


def test_no_shell_reads_the_command() -> None:
    command = workerCommand(f"{sys.executable} -c 'import sys; print(sys.argv[1:])' ; $HOME * > x", MODULE)
    assert _run(command).output.strip() == "[';', '$HOME', '*', '>', 'x']"


def test_windows_paths_keep_their_backslashes() -> None:
    text = r'"C:\Program Files\Python312\Scripts\medsam2.exe" worker --log=it\'s "a b"'
    assert splitCommand(text, windows=True) == (
        r"C:\Program Files\Python312\Scripts\medsam2.exe",
        "worker",
        r"--log=it\'s",
        "a b",
    )


@pytest.mark.parametrize("windows", [True, False])
def test_an_open_quote_is_refused(windows: bool) -> None:
    with pytest.raises(WorkerError, match="check its quotes"):
        splitCommand('ssh "gpu-host medsam2 worker', windows)


def test_sibling_commands() -> None:
    command = workerCommand("ssh gpu-host medsam2 worker", MODULE, {})
    assert command.sibling("models", "list").arguments == ("ssh", "gpu-host", "medsam2", "models", "list")
    with pytest.raises(WorkerError, match='end the command with "medsam2 worker"'):
        workerCommand("./start.sh", MODULE, {}).sibling("doctor")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(WorkerError, match='"no-such-program" cannot be started'):
        runProgram(["no-such-program"])


def test_a_slow_program_is_ended_and_the_window_kept_alive() -> None:
    turns: list[None] = []
    with pytest.raises(WorkerError, match="did not answer within"):
        runProgram(
            [sys.executable, "-c", f"import time; time.sleep({2 * CEILING})"],
            timeoutSeconds=0.5,
            idle=lambda: turns.append(None),
        )
    assert turns


def test_an_error_while_waiting_ends_the_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def failOnceItRuns() -> None:
        if pid.exists() and pid.read_text(encoding="utf-8"):
            raise RuntimeError("closed")

    code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep({2 * CEILING})"
    with pytest.raises(RuntimeError, match="closed"):
        runProgram([sys.executable, "-c", code], timeoutSeconds=CEILING, idle=failOnceItRuns)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text(encoding="utf-8")), 0)


def test_output_that_is_no_utf8() -> None:
    done = runProgram([sys.executable, "-c", "import sys; sys.stdout.buffer.write(b'\\xff ok'); sys.exit(3)"])
    assert done.code == 3
    assert done.output.endswith(" ok")
