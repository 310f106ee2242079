"""The outermost edge of the command line: whatever ends a command, the user reads one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from medsam2_core.cli.signals import interruptible
from medsam2_core.job.sentences import EXPECTED, sentence_of
from medsam2_core.notices import told

REFUSED = 2
INCOMPLETE = 3  # done, but for inputs that could not be read
INTERRUPTED = 130  # what a shell calls a program that Ctrl+C ended


def run_at_edge(command: Callable[[], int], *, is_last: bool = False) -> int:
    """Run a command and return its exit code: its own, 2 for what was refused, 130 for Ctrl+C.

    A reader of its output that leaves early, such as `head`, is not an error. Our own mistakes are not hidden.
    `is_last`: the process ends with it.
    """
    with _robust_streams():
        try:
            with told(_note), interruptible(is_last=is_last):
                return _flushed(command)
        except BrokenPipeError:
            _abandon(sys.stdout)
            return 0
        except KeyboardInterrupt:
            _say("Interrupted; nothing more was written.")
            return INTERRUPTED
        except EXPECTED as error:
            sentence = sentence_of(error)
            if sentence is None:
                raise
            _abandon(sys.stdout) if isinstance(error, OSError) else None
            _say(sentence)
            return REFUSED


def _flushed(command: Callable[[], int]) -> int:
    """Run a command, and have its output out while what goes wrong with that can still be answered."""
    try:
        code = command()
    except SystemExit:  # argparse has shown its help
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _note(text: str) -> None:
    _write("Note", text)


def _say(text: str) -> None:
    _write("medsam2", text)


def _write(who: str, text: str) -> None:
    try:
        print(f"{who}: {' '.join(text.split())}", file=sys.stderr, flush=True)
    except OSError:  # nobody listens
        _abandon(sys.stderr)


@contextmanager
def _robust_streams() -> Iterator[None]:
    """Streams that take any name: letters they cannot show are escaped. One that is closed swallows what it gets."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (kept to the end)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    yield


def _abandon(stream: TextIO) -> None:
    """Let what is still to be printed go nowhere; at its end the interpreter would complain of it."""
    with suppress(OSError, ValueError, AttributeError):  # a stream of a test has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
