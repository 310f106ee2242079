"""One web request for the rest of a file: which bytes the answer holds, and in plain words what went wrong."""

from __future__ import annotations

import re
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from urllib.error import HTTPError, URLError

_BLOCK_BYTES = 1 << 18
_WORTH_A_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})


class TransferInterruptedError(Exception):
    """The connection broke or the server is busy: trying again may help."""


class RangeRefusedError(TransferInterruptedError):
    """The server cannot go on where the file stopped: only starting at byte 0 may help."""


class TransferRefusedError(Exception):
    """The server's answer will not change by trying again."""


@dataclass(frozen=True)
class ResponseBody:
    """The bytes of a file from `start` on; `total` is the length of the whole file in bytes, None where unknown."""

    start: int
    total: int | None
    _response: HTTPResponse

    def blocks(self, end: int | None) -> Iterator[bytes]:
        """Yield the bytes from `start` to `end` (to the end of the stream where None) as they arrive.

        Raises:
            TransferInterruptedError: the stream broke off or stalled before `end`.
        """
        position = self.start
        while end is None or position < end:
            block = self._read(_BLOCK_BYTES if end is None else min(_BLOCK_BYTES, end - position))
            if not block:
                break
            position += len(block)
            yield block
        if end is not None and position < end:
            raise TransferInterruptedError(f"the connection closed after {position} of {end} bytes")

    def _read(self, limit: int) -> bytes:
        try:
            # read1 returns what has arrived: on a slow line read() would hold back progress and canceling.
            return self._response.read1(limit)
        except (OSError, HTTPException) as error:
            raise TransferInterruptedError(_reason(error)) from error


@contextmanager
def open_body(url: str, start: int, stall_seconds: float) -> Iterator[ResponseBody]:
    """Request the file at `url` (http or https) from byte `start` on.

    The body may begin at 0 instead, where the server does not do ranges. A silence of `stall_seconds` counts as a
    broken connection.

    Raises:
        TransferInterruptedError: no connection, or a busy server.
        RangeRefusedError: the server has no such range, or answers with another one.
        TransferRefusedError: the server does not have or does not give the file, or is not to be trusted.
    """
    headers = {"User-Agent": "medsam2", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with _respond(urllib.request.Request(url, headers=headers), stall_seconds) as response:  # noqa: S310 (web only, see _opener)
        first, total = _span(response, start)
        yield ResponseBody(first, total, response)


def _opener() -> urllib.request.OpenerDirector:
    """Open http and https only: the usual opener also reads local files and ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _respond(request: urllib.request.Request, stall_seconds: float) -> HTTPResponse:
    try:
        response = _opener().open(request, timeout=stall_seconds)
    except HTTPError as error:
        with error:
            raise _status_failure(error.code) from error
    except (OSError, HTTPException) as error:
        raise _connection_failure(error) from error
    if not isinstance(response, HTTPResponse):
        raise TransferRefusedError("the answer is not HTTP")
    return response


def _status_failure(status: int) -> Exception:
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return RangeRefusedError("the server refused to resume the file")
    if status in _WORTH_A_RETRY:
        return TransferInterruptedError(f"the server answered with HTTP status {status}")
    return TransferRefusedError(f"the server answered with HTTP status {status}")


def _connection_failure(error: OSError | HTTPException) -> Exception:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TransferRefusedError(
            "the server's certificate is not trusted; behind a proxy that inspects traffic, "
            "set SSL_CERT_FILE to its certificate"
        )
    return TransferInterruptedError(_reason(cause))


def _reason(cause: BaseException | str) -> str:
    if isinstance(cause, TimeoutError):
        return "the server stopped sending"
    return str(cause) or type(cause).__name__


def _span(response: HTTPResponse, asked: int) -> tuple[int, int | None]:
    """First byte and whole length that the answer to a request from byte `asked` on declares."""
    if response.status == HTTPStatus.OK:
        return 0, _whole_number(response.headers.get("Content-Length"))
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        raise TransferRefusedError(f"the server answered with HTTP status {response.status}")
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if found is None or int(found[1]) != asked:
        raise RangeRefusedError("the server answered with bytes other than those asked for")
    return asked, _whole_number(found[2])


def _whole_number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch("[0-9]+", text) else None
