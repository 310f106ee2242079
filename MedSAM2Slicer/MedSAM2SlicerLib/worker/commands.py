"""How the worker is started: by Slicer's own Python, by another one, or by whatever command line the user typed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from slicer.i18n import tr as _

from medsam2_core.errors import WorkerError

# The extension's folder travels as an argument, so that no path is ever quoted inside code. Taking the empty entry out
# keeps a file `torch.py` in the current folder from being imported.
_BOOTSTRAP = (
    "import sys; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; "
    "from medsam2_core.cli.main import run; sys.exit(run())"
)
_INTERPRETER = re.compile(r"(python[\d.]*|pythonslicer)(\.exe)?", re.IGNORECASE)
# What Slicer's launcher sets for itself: another Python, and ssh too, would load Slicer's libraries and fail.
_SLICERS_OWN = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_TURN_SECONDS = 0.05
_NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # Windows would flash a console


class Origin(Enum):
    """Whose program is started."""

    SLICER = "Slicer's Python"
    PYTHON = "another Python"
    TYPED = "a command"


@dataclass(frozen=True)
class WorkerCommand:
    """A program with its arguments (never a shell line), and the environment to start it in (None: this process's)."""

    origin: Origin
    arguments: tuple[str, ...]
    environment: Mapping[str, str] | None = None

    @property
    def python(self) -> str | None:
        """The interpreter that runs this extension's code; None for a command that was typed."""
        return None if self.origin is Origin.TYPED else self.arguments[0]

    def sibling(self, *subcommand: str) -> WorkerCommand:
        """Return the same command line for another sub-command of `medsam2`, with its arguments.

        Raises:
            WorkerError: the command does not end with "worker", so that its place is not known.
        """
        *start, last = self.arguments
        if last != "worker":
            raise WorkerError(
                _('"{command}" does not end with "worker": end the command with "medsam2 worker".').format(
                    command=str(self)
                )
            )
        return WorkerCommand(self.origin, (*start, *subcommand), self.environment)

    def __str__(self) -> str:
        """Return what a person would recognize."""
        if self.origin is Origin.TYPED:
            return shlex.join(self.arguments)
        return f"{self.origin.value} ({self.arguments[0]})"


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end: its exit code and what it wrote."""

    code: int
    output: str
    errors: str


def lastLine(text: str) -> str:
    """Return the last line of what a program wrote, in which most say why they failed; it may have written nothing."""
    return (text.strip().splitlines() or [_("no message")])[-1]


def workerCommand(text: str, moduleFolder: Path, startEnvironment: Mapping[str, str] | None = None) -> WorkerCommand:
    """Return the command that starts the worker.

    An empty `text` means Slicer's own Python. The path of a Python interpreter, blanks and all, means that one. Both
    run this extension's code from `moduleFolder`; only torch and the like must be installed there. Anything else is
    started as it is typed: `ssh HOST medsam2 worker`.

    `startEnvironment` is the environment in which Slicer was started (`slicer.util.startupEnvironment()`), for all but
    Slicer's own Python; None: this process's without what Slicer sets for itself.

    Raises:
        WorkerError: a quote in `text` is not closed.
    """
    text = text.strip()
    if not text:
        return WorkerCommand(Origin.SLICER, _withOurCode(ownPython(), moduleFolder))
    environment = dict(startEnvironment) if startEnvironment is not None else foreignEnvironment(os.environ)
    python = _interpreter(text)
    if python:
        return WorkerCommand(Origin.PYTHON, _withOurCode(python, moduleFolder), environment)
    return WorkerCommand(Origin.TYPED, splitCommand(text), environment)


def ownPython() -> str:
    """Return the program of the Python that runs this code; in Slicer that is `PythonSlicer`.

    Raises:
        WorkerError: there is none.
    """
    python = sys.executable or shutil.which("PythonSlicer")
    if not python:
        raise WorkerError(_("Slicer's Python was not found: choose another Python, or reinstall Slicer."))
    return python


def splitCommand(text: str, windows: bool = os.name == "nt") -> tuple[str, ...]:
    r"""Split a typed command line at blanks; quotes keep blanks, and a backslash is plain in Windows paths.

    Raises:
        WorkerError: a quote is not closed.
    """
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if windows:
        lexer.escape = ""
        lexer.quotes = '"'
    try:
        return tuple(lexer)
    except ValueError as error:
        raise WorkerError(
            _("The worker's command cannot be read ({reason}): check its quotes.").format(reason=error)
        ) from error


def foreignEnvironment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` without the variables that Slicer sets for itself."""
    return {name: value for name, value in environment.items() if name not in _SLICERS_OWN}


def runProgram(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    timeoutSeconds: float = 60.0,
    idle: Callable[[], object] | None = None,
) -> Finished:
    """Run a program to its end; `idle` is called about 20 times a second meanwhile, which keeps a window alive.

    Raises:
        WorkerError: it cannot be started, or is not done in time and was ended.
    """
    process = _start(arguments, environment)
    deadline = time.monotonic() + timeoutSeconds
    try:
        while time.monotonic() < deadline:
            finished = _waitATurn(process)
            if finished:
                return finished
            if idle:
                idle()
    finally:
        _end(process)
    raise WorkerError(
        _('"{program}" did not answer within {seconds} s: check the command, or try again.').format(
            program=arguments[0], seconds=round(timeoutSeconds)
        )
    )


def _withOurCode(python: str, moduleFolder: Path) -> tuple[str, ...]:
    return python, "-c", _BOOTSTRAP, str(moduleFolder), "worker"


def _interpreter(text: str) -> str | None:
    """Return the Python that `text` names and nothing else, as a program on the path or as a file."""
    unquoted = text[1:-1] if text[0] == text[-1] == '"' else text
    if not _INTERPRETER.fullmatch(re.split(r"[/\\]", unquoted)[-1]):
        return None
    return unquoted if Path(unquoted).is_file() or not re.search(r"\s", unquoted) else None


def _start(arguments: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            list(arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            creationflags=_NO_WINDOW,
        )
    except OSError as error:
        raise WorkerError(
            _('"{program}" cannot be started ({reason}): check the worker\'s command.').format(
                program=arguments[0], reason=error.strerror or error
            )
        ) from error


def _waitATurn(process: subprocess.Popen[str]) -> Finished | None:
    try:
        output, errors = process.communicate(timeout=_TURN_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    return Finished(process.returncode, output, errors)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill what still runs. Its output is not waited for: a child of its own may hold the pipes open."""
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()
