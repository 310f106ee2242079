"""The resumable, verified download against a real server on this machine."""

from __future__ import annotations

import errno
import os
import re
import shutil
import ssl
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import pytest

from medsam2_core.errors import Cancelled, WeightsError
from medsam2_core.weights import web
from medsam2_core.weights.download import Patience, RemoteFile, download_file, part_path
from medsam2_core.weights.part_file import PartFile

Fetch = Callable[..., Path]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "store" / "file.pt"


@pytest.fixture
def fetch(source: RemoteFile, target: Path, quick: Patience) -> Fetch:
    def run(**options: Any) -> Path:
        download_file(options.pop("source", source), target, **{"patience": quick, **options})
        return target

    return run


@pytest.fixture
def leave_part(target: Path) -> Callable[[bytes], None]:
    def leave(data: bytes) -> None:
        target.parent.mkdir(parents=True)
        part_path(target).write_bytes(data)

    return leave


def test_fetches_the_file_and_leaves_nothing_else(fetch: Fetch, content: bytes) -> None:
    target = fetch()
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["file.pt"]


def test_progress_rises_to_the_whole_size(fetch: Fetch, content: bytes) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, len(content))
    assert seen[-1] == (len(content), len(content))
    assert seen == sorted(seen)


def test_goes_on_where_an_earlier_download_stopped(fetch: Fetch, server, leave_part, content: bytes) -> None:
    leave_part(content[:300_000])
    assert fetch().read_bytes() == content
    assert server.requested == ["bytes=300000-"]


def test_broken_connections_are_gone_on_with(fetch: Fetch, server, content: bytes) -> None:
    server.break_after = 400_000
    assert fetch().read_bytes() == content
    assert server.requested == [None, "bytes=400000-", "bytes=800000-"]


def test_more_breaks_than_tries_are_fine_while_bytes_arrive(fetch: Fetch, server, quick, content: bytes) -> None:
    server.break_after = len(content) // 8
    assert fetch().read_bytes() == content
    assert len(server.requested) > quick.tries


def test_server_without_ranges_starts_again(fetch: Fetch, server, leave_part, content: bytes) -> None:
    server.ranges = False
    leave_part(b"x" * 300_000)
    assert fetch().read_bytes() == content
    assert len(server.requested) == 1


def test_server_without_ranges_that_always_breaks_ends(fetch: Fetch, server, quick) -> None:
    server.ranges = False
    server.break_after = 400_000
    with pytest.raises(WeightsError, match="connection closed after 400000"):
        fetch()
    assert len(server.requested) == 1 + quick.tries


def test_range_that_was_not_asked_for_is_not_appended(fetch: Fetch, server, leave_part, content: bytes) -> None:
    server.content_range = f"bytes 7-{len(content) - 1}/{len(content)}"
    leave_part(content[:300_000])
    assert fetch().read_bytes() == content
    assert server.requested == ["bytes=300000-", None]


def test_stall_is_a_broken_connection(fetch: Fetch, server, content: bytes) -> None:
    server.stall_after = 600_000
    seen: list[int] = []

    def progress(done: int, total: int | None) -> None:
        seen.append(done)
        if done == 600_000:
            server.stall_after = None  # the next connection is healthy

    assert fetch(progress=progress).read_bytes() == content
    assert server.requested == [None, "bytes=600000-"]


def test_endless_stall_gives_up_and_keeps_the_part(fetch: Fetch, server, target: Path) -> None:
    server.stall_after = 0
    with pytest.raises(WeightsError, match=r"^toy could not be downloaded .*stopped sending.*models import"):
        fetch(patience=Patience(stall_seconds=1, tries=2, pause_seconds=0.01))
    assert len(server.requested) == 2
    assert part_path(target).exists()


def test_wrong_content_is_deleted(fetch: Fetch, server, target: Path, content: bytes) -> None:
    server.content = b"y" * len(content)
    with pytest.raises(WeightsError, match=r"^toy .*wrong checksum and was deleted"):
        fetch()
    assert list(target.parent.iterdir()) == []


def test_damaged_part_is_found_out(fetch: Fetch, leave_part, content: bytes) -> None:
    leave_part(b"x" * 300_000)
    with pytest.raises(WeightsError, match="wrong checksum"):
        fetch()
    assert fetch().read_bytes() == content


@pytest.mark.parametrize("length", [1_048_576, 2_000_000], ids=["whole", "too long"])
def test_full_length_part_of_wrong_content_starts_again(fetch: Fetch, server, leave_part, content, length: int) -> None:
    leave_part(b"x" * length)
    assert fetch().read_bytes() == content
    assert server.requested == [None]


@pytest.mark.parametrize("size", [1_048_576, None])
def test_complete_part_needs_no_request(fetch: Fetch, server, source, leave_part, content, size: int | None) -> None:
    leave_part(content)
    assert fetch(source=replace(source, size_bytes=size)).read_bytes() == content
    assert server.requested == []


def test_too_long_part_of_unknown_size_starts_again(fetch: Fetch, server, source, leave_part, content: bytes) -> None:
    leave_part(content + b"more")
    assert fetch(source=replace(source, size_bytes=None)).read_bytes() == content
    assert server.requested == [f"bytes={len(content) + 4}-", None]


def test_size_that_only_the_server_knows(fetch: Fetch, source: RemoteFile, content: bytes) -> None:
    totals: list[int | None] = []
    fetch(source=replace(source, size_bytes=None), progress=lambda done, total: totals.append(total))
    assert set(totals) == {len(content)}


def test_size_that_nobody_knows(fetch: Fetch, server, source: RemoteFile, content: bytes) -> None:
    server.declare_length = False
    totals: list[int | None] = []
    fetch(source=replace(source, size_bytes=None), progress=lambda done, total: totals.append(total))
    assert set(totals) == {None}


def test_endless_answer_is_cut_at_the_known_size(fetch: Fetch, server, content: bytes, target: Path) -> None:
    server.declare_length = False
    server.content = content + b"more"
    assert fetch().read_bytes() == content


def test_wrong_declared_length_stops_before_anything_is_written(fetch: Fetch, server, leave_part, target: Path) -> None:
    leave_part(b"x" * 10)
    server.ranges = False
    server.declared_length = 1234
    with pytest.raises(WeightsError, match=r"^toy should have 1048576 bytes and 127.0.0.1 offers 1234"):
        fetch()
    assert part_path(target).read_bytes() == b"x" * 10


def test_missing_file_is_not_asked_for_again(fetch: Fetch, server) -> None:
    server.statuses = [404]
    with pytest.raises(WeightsError, match=r"^toy cannot be downloaded .*HTTP status 404"):
        fetch()
    assert len(server.requested) == 1


def test_busy_server_is_asked_again(fetch: Fetch, server, content: bytes) -> None:
    server.statuses = [500, 503]
    assert fetch().read_bytes() == content


def test_server_that_stays_broken_ends(fetch: Fetch, server, quick) -> None:
    server.statuses = [500] * 9
    with pytest.raises(WeightsError, match="HTTP status 500"):
        fetch()
    assert len(server.requested) == quick.tries


def test_unexpected_success_status_is_refused(fetch: Fetch, server) -> None:
    server.statuses = [204]
    with pytest.raises(WeightsError, match="HTTP status 204"):
        fetch()


def test_redirects_are_followed(fetch: Fetch, source: RemoteFile, content: bytes) -> None:
    address = source.url.replace("/file.pt", "/redirect")
    assert fetch(source=replace(source, url=address)).read_bytes() == content


def test_range_survives_a_redirect(fetch: Fetch, server, source: RemoteFile, leave_part, content: bytes) -> None:
    leave_part(content[:5])
    address = source.url.replace("/file.pt", "/redirect")
    assert fetch(source=replace(source, url=address)).read_bytes() == content
    assert server.requested == ["bytes=5-"]


def test_other_schemes_are_never_opened(fetch: Fetch, source: RemoteFile, tmp_path: Path, content: bytes) -> None:
    local = tmp_path / "local"
    local.write_bytes(content)
    with pytest.raises(WeightsError, match="unknown url type: file"):
        fetch(source=replace(source, url=local.as_uri()))


def test_nobody_listening(fetch: Fetch, source: RemoteFile) -> None:
    with pytest.raises(WeightsError, match="check the network and proxy"):
        fetch(source=replace(source, url="http://127.0.0.1:9/file.pt"))


def test_untrusted_certificate_is_said_at_once(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise URLError(ssl.SSLCertVerificationError("self-signed"))

    monkeypatch.setattr(web, "_opener", lambda: SimpleNamespace(open=refuse))
    with pytest.raises(WeightsError, match=r"certificate is not trusted.*SSL_CERT_FILE"):
        fetch()


def test_cancel_keeps_the_part_for_the_next_call(fetch: Fetch, server, target, cancel_after, content: bytes) -> None:
    with pytest.raises(Cancelled, match=r"^toy "):
        fetch(cancel=cancel_after(3))
    kept = part_path(target).stat().st_size
    assert 0 < kept < len(content)
    assert content.startswith(part_path(target).read_bytes())
    assert fetch(cancel=cancel_after(10**9)).read_bytes() == content
    assert server.requested == [None, f"bytes={kept}-"]


def test_cancel_interrupts_the_wait_between_tries(fetch: Fetch, server, cancel_after) -> None:
    server.statuses = [500] * 9
    with pytest.raises(Cancelled):
        fetch(cancel=cancel_after(2), patience=Patience(pause_seconds=60))


def test_full_disk_is_said_before_the_download(fetch: Fetch, monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 1000))
    with pytest.raises(WeightsError, match=r"^toy needs 1 MB more .*0 MB free.*MEDSAM2_HOME"):
        fetch()
    assert part_path(target).stat().st_size == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' always-full device")
def test_disk_that_fills_up_midway(fetch: Fetch, target: Path) -> None:
    target.parent.mkdir()
    part_path(target).symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"^toy does not fit on the disk .*MEDSAM2_HOME"):
        fetch()


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    if not hasattr(os, "geteuid"):
        pytest.skip("needs POSIX permissions")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    is_root = os.geteuid() == 0
    if is_root:  # permissions do not bind root
        os.seteuid(65534)
    yield folder
    if is_root:
        os.seteuid(0)


def test_read_only_folder(read_only_folder: Path, source: RemoteFile, quick: Patience) -> None:
    with pytest.raises(WeightsError, match=rf"^toy cannot be stored in {re.escape(str(read_only_folder))} .*writable"):
        download_file(source, read_only_folder / "file.pt", patience=quick)


def test_part_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.part"
    path.write_bytes(b"x" * 10)
    with PartFile(path, "toy") as part:
        path.write_bytes(b"")
        with pytest.raises(WeightsError, match=r"^toy changed"):
            part.read_back(lambda: None)


def test_quota_reads_like_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def over_quota(_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(shutil, "disk_usage", over_quota)
    with PartFile(tmp_path / "file.part", "toy") as part, pytest.raises(WeightsError, match="does not fit"):
        part.require_space(1)
