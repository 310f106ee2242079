"""One run of the worker as the client sees it: the greeting, frames, and the moment it is lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from medsam2_core.errors import WorkerError
from medsam2_core.worker.wire import MAGIC, PROTOCOL, Decoder, Frame, Header, encode, encode_head
from MedSAM2SlicerLib.worker.transports import Payload, Transport, sizeOf

_BLOCKED_SECONDS = 5.0
_DELIVERY_SECONDS = 0.02


@dataclass(frozen=True)
class Timeouts:
    """Seconds of patience.

    `start`: from the start to the greeting; a cluster's queue may take longer. `stall`: without a sign of life while
    a request is worked on; the worker gives one every 2 s. `cancel`: for a propagation to end once it is asked to.
    `shutdown`: for the worker to leave by itself.
    """

    start: float = 120.0
    stall: float = 30.0
    cancel: float = 20.0
    shutdown: float = 3.0


class Listener(Protocol):
    """Who hears from a connection."""

    def greeted(self, hello: Header) -> None:
        """The worker is there and speaks this protocol."""

    def framed(self, frame: Frame) -> None:
        """A message came."""

    def lost(self, error: WorkerError, hadGreeted: bool) -> None:
        """The worker is gone; nothing more comes."""


class Connection:
    """Starts a worker and turns its bytes into messages. Tells `listener`, from `pump` or the event loop only."""

    def __init__(self, transport: Transport, timeouts: Timeouts, clock: Callable[[], float]) -> None:
        self._transport, self._timeouts, self._clock = transport, timeouts, clock
        self._decoder = Decoder()
        self._listener: Listener | None = None
        self._heard = self._ticked = clock()
        self._waiting: list[Frame] = []
        self._delivering = False
        self.hasGreeted = False

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None, listener: Listener) -> None:
        """Start the worker."""
        self._listener = listener
        self._heard = self._ticked = self._clock()
        self._transport.received, self._transport.ended = self._onReceived, self._onEnded
        self._transport.start(command, environment)

    def send(self, header: Header, payloads: Sequence[Payload] = ()) -> None:
        """Send a message. Raises WorkerError if it is too large."""
        self._transport.write([encode_head(header, [sizeOf(payload) for payload in payloads]), *payloads])
        self._heard = self._clock()

    def pump(self, seconds: float) -> None:
        """Deliver what has come; if nothing has, wait for it up to `seconds`."""
        self._transport.pump(0.0 if self._waiting else seconds)
        self._deliver()

    def tick(self, isBusy: bool) -> None:
        """Look at the clock: a worker that should have said something by now is lost."""
        self._deliver()
        now = self._clock()
        if now - self._ticked > _BLOCKED_SECONDS:
            self._heard = now  # nobody looked for so long; what came meanwhile may still wait to be delivered
        self._ticked = now
        silent = now - self._heard
        if not self.hasGreeted and silent > self._timeouts.start:
            self.lose(f"the model process did not start within {self._timeouts.start:.0f} s")
        elif self.hasGreeted and isBusy and silent > self._timeouts.stall:
            self.lose(f"the model process did not respond for {self._timeouts.stall:.0f} s")

    def close(self) -> None:
        """Say goodbye, wait a little, end the process. The listener hears nothing of it."""
        self._listener = None
        isRunning = self._transport.running
        if isRunning:
            self._transport.write(encode({"request": "bye"}))
        self._transport.kill(self._timeouts.shutdown if isRunning else 0.0)

    def lose(self, reason: str) -> None:
        """Give the worker up and tell the listener."""
        self._transport.kill()
        self._tellLost(WorkerError(f"{reason[:1].upper()}{reason[1:]}".rstrip(".") + "."))

    def _onReceived(self, data: bytes) -> None:
        self._heard = self._clock()
        try:
            self._waiting += self._decoder.feed(data)
        except WorkerError as error:
            self._waiting.clear()
            self.lose(str(error) if self.hasGreeted else _chatter(data))
        self._deliver()

    def _onEnded(self, reason: str) -> None:
        self._deliver(math.inf)
        self.lose(reason)

    def _deliver(self, seconds: float = _DELIVERY_SECONDS) -> None:
        """Hand messages over one by one; those that come while one is being handled wait for their turn.

        After a short time the rest waits for the next tick or message: on a busy machine many come at once, and an
        event loop must not be blocked for all of them.
        """
        if self._delivering:
            return
        self._delivering = True
        end = time.perf_counter() + seconds
        try:
            while self._waiting and self._listener is not None:
                self._handOver(self._waiting.pop(0))
                if time.perf_counter() > end:
                    break
        finally:
            self._delivering = False

    def _handOver(self, frame: Frame) -> None:
        listener = self._listener
        if listener is None:
            return
        if self.hasGreeted:
            listener.framed(frame)
            return
        try:
            _checkGreeting(frame.header)
        except WorkerError as error:
            self.lose(str(error))
            return
        self.hasGreeted = True
        listener.greeted(frame.header)

    def _tellLost(self, error: WorkerError) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.lost(error, self.hasGreeted)


def _chatter(data: bytes) -> str:
    """What to do about a shell that speaks before the worker does."""
    said = data.partition(MAGIC)[0][:60].decode(errors="replace")  # the greeting may have come with it
    said = " ".join(said.split()) or "a blank line"
    return (
        f"The worker's command printed something before the worker answered ({said}): keep its shell's start-up files "
        "(such as ~/.bashrc, a greeting or a module's message) from printing, or let them print to stderr (>&2)."
    )


def _checkGreeting(header: Header) -> None:
    if header.get("event") != "hello":
        raise WorkerError("The program that was started is not a MedSAM2Slicer worker: check the worker's command.")
    if header.get("protocol") != PROTOCOL:
        raise WorkerError(
            f"The worker (version {str(header.get('version'))[:20]}) speaks protocol {str(header.get('protocol'))[:9]} "
            f"and Slicer's side {PROTOCOL}: install the same version of MedSAM2Slicer on both sides."
        )
