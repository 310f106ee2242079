"""A program that runs beside Slicer: downloads and the doctor. Its output arrives while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import qt
from slicer.i18n import tr as _

from MedSAM2SlicerLib.faults import guarded

if TYPE_CHECKING:
    from MedSAM2SlicerLib.worker.commands import WorkerCommand


class Program:
    """Starts one program and hands on what it writes, on standard output and error alike.

    onOutput(text) while it runs; onEnded(exitCode) once, -1 if it could not be started or was killed.
    """

    def __init__(self, onOutput: Callable[[str], None], onEnded: Callable[[int], None]) -> None:
        self._onOutput, self._onEnded = onOutput, onEnded
        self._process = qt.QProcess()
        self._process.setProcessChannelMode(qt.QProcess.MergedChannels)
        self._process.connect("readyReadStandardOutput()", guarded(self._read))
        self._process.connect("finished(int,QProcess::ExitStatus)", guarded(self._finished))
        self._process.connect("errorOccurred(QProcess::ProcessError)", guarded(self._failed))
        self._over = False

    def start(self, command: WorkerCommand) -> None:
        """Start the program."""
        if command.environment is not None:
            environment = qt.QProcessEnvironment()
            for name, value in command.environment.items():
                environment.insert(name, value)
            self._process.setProcessEnvironment(environment)
        program, *arguments = command.arguments
        self._process.start(program, arguments)

    def cancel(self) -> None:
        """End the program; onEnded follows from the event loop."""
        self._process.kill()

    def close(self) -> None:
        """End the program at once, without a word."""
        self._over = True
        self._process.kill()
        self._process.waitForFinished(1000)

    def _read(self) -> None:
        data = self._process.readAllStandardOutput().data()
        if data and not self._over:
            self._onOutput(data.decode("utf-8", "replace"))

    def _finished(self, code: int, status: int) -> None:
        self._read()
        self._end(code if status == qt.QProcess.NormalExit else -1)

    def _failed(self, error: int) -> None:
        # A crash is told by finished() too; only a program that never started is told by this alone.
        if error == qt.QProcess.FailedToStart:
            self._onOutput(_("The program could not be started: {reason}").format(reason=self._process.errorString()))
            self._end(-1)

    def _end(self, code: int) -> None:
        if not self._over:
            self._over = True
            self._onEnded(code)
