"""The store of model files: finding, fetching with consent, importing, verifying and removing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medsam2_core.errors import Cancelled, WeightsError
from medsam2_core.files.lock import try_lock
from medsam2_core.weights import store as module
from medsam2_core.weights.catalog import ModelEntry
from medsam2_core.weights.store import ModelState, WeightsStore
from medsam2_core.weights.user_folder import user_folder

MakeEntry = Callable[..., ModelEntry]
MakeStore = Callable[..., WeightsStore]

HOLD_LOCK = """
import sys, pathlib
from medsam2_core.files.lock import try_lock
with try_lock(pathlib.Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(make_store: MakeStore, make_entry: MakeEntry) -> WeightsStore:
    return make_store(make_entry())


def _bundle(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / "bundled" / name).write_bytes(data)


def test_missing_model_says_how_to_get_it(store: WeightsStore) -> None:
    assert store.state("toy") is ModelState.MISSING
    with pytest.raises(WeightsError, match=r"^toy is not on this computer: run `medsam2 models download toy`"):
        store.path("toy")


@pytest.mark.parametrize("method", ["state", "path", "download", "remove", "verify"])
def test_unknown_model_is_refused_everywhere(store: WeightsStore, method: str) -> None:
    with pytest.raises(WeightsError, match=r"'toi' is not a known model \(did you mean 'toy'\?\)"):
        getattr(store, method)("toi")


def test_download_installs(store: WeightsStore, content: bytes) -> None:
    path = store.download("toy")
    assert path == store.path("toy") == store.folder / "toy.pt"
    assert path.read_bytes() == content
    assert store.state("toy") is ModelState.INSTALLED
    assert store.installed() == ["toy"]
    store.verify("toy")


def test_second_download_makes_no_request(store: WeightsStore, server) -> None:
    store.download("toy")
    store.download("toy")
    assert len(server.requested) == 1


def test_download_reports_and_is_gone_on_with_after_cancel(store: WeightsStore, server, cancel_after, content) -> None:
    with pytest.raises(Cancelled):
        store.download("toy", cancel=cancel_after(3))
    assert store.state("toy") is ModelState.MISSING
    seen: list[int] = []
    store.download("toy", lambda done, total: seen.append(done))
    assert server.requested[1] == f"bytes={seen[0]}-"
    assert seen[-1] == len(content)


def test_license_is_shown_before_anything_is_fetched(make_store: MakeStore, make_entry: MakeEntry, server) -> None:
    store = make_store(make_entry(permissive=False, license_text="Research only."))
    with pytest.raises(WeightsError, match=r"^toy .*Research only\. .*accept_license=True"):
        store.download("toy")
    assert server.requested == []
    assert store.download("toy", accept_license=True).is_file()


def test_bundled_model_is_found_and_stays(make_store: MakeStore, make_entry: MakeEntry, tmp_path: Path) -> None:
    store = make_store(make_entry("starter", url=None))
    with pytest.raises(WeightsError, match=r"^starter should have come with MedSAM2Slicer"):
        store.download("starter")
    _bundle(tmp_path, "starter.pt", b"weights")
    assert store.state("starter") is ModelState.BUNDLED
    assert store.download("starter") == store.path("starter") == tmp_path / "bundled" / "starter.pt"
    with pytest.raises(WeightsError, match=r"^starter comes with MedSAM2Slicer and cannot be removed"):
        store.remove("starter")
    with pytest.raises(WeightsError, match=r"^starter is damaged .*reinstall"):
        store.verify("starter")


def test_unreleased_bundled_model_cannot_be_verified(make_store, make_entry, tmp_path: Path) -> None:
    store = make_store(make_entry("starter", url=None, sha256=""))
    _bundle(tmp_path, "starter.pt", b"weights")
    with pytest.raises(WeightsError, match=r"^starter has no checksum"):
        store.verify("starter")


def test_corruption_is_found_and_can_be_repaired(store: WeightsStore, content: bytes) -> None:
    path = store.download("toy")
    path.write_bytes(b"damaged" + content[7:])
    with pytest.raises(WeightsError, match=r"^toy is damaged .*models remove toy.*models download toy"):
        store.verify("toy")
    store.remove("toy")
    store.download("toy")
    store.verify("toy")


def test_unreadable_file_is_said(store: WeightsStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(WeightsStore, "path", lambda *_: tmp_path)
    with pytest.raises(WeightsError, match="cannot be read"):
        store.verify("toy")


def test_remove_also_deletes_a_broken_download(store: WeightsStore, cancel_after) -> None:
    with pytest.raises(Cancelled):
        store.download("toy", cancel=cancel_after(3))
    store.remove("toy")
    assert [path.name for path in store.folder.iterdir()] == [".toy.pt.lock"]
    store.remove("toy")  # nothing left: not an error


def test_import_recognizes_by_content(store: WeightsStore, tmp_path: Path, content: bytes, server) -> None:
    brought = tmp_path / "renamed.bin"
    brought.write_bytes(content)
    assert store.import_file(brought) == "toy"
    store.verify("toy")
    assert brought.is_file()
    assert server.requested == []


def test_import_replaces_damaged_and_broken_files(store: WeightsStore, tmp_path: Path, content: bytes) -> None:
    brought = tmp_path / "toy.pt"
    brought.write_bytes(content)
    store.folder.mkdir()
    (store.folder / "toy.pt").write_bytes(b"damaged")
    (store.folder / "toy.pt.part").write_bytes(b"part")
    assert store.import_file(brought, "toy") == "toy"
    store.verify("toy")
    assert sorted(path.name for path in store.folder.iterdir()) == [".toy.pt.lock", "toy.pt"]


def test_import_of_unknown_content_leaves_nothing(make_store, make_entry, tmp_path: Path) -> None:
    store = make_store(make_entry(), make_entry("other", sha256="0" * 64))
    brought = tmp_path / "mine.pt"
    brought.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=r"^mine.pt is not any of the known models toy, other"):
        store.import_file(brought)
    with pytest.raises(WeightsError, match=rf"^mine.pt is not the model other \(expected sha256 {'0' * 64}, found "):
        store.import_file(brought, "other")
    with pytest.raises(WeightsError, match="'nobody' is not a known model"):
        store.import_file(brought, "nobody")
    assert list(store.folder.iterdir()) == []


def test_import_of_a_missing_file(store: WeightsStore, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent.pt cannot be read"):
        store.import_file(tmp_path / "absent.pt")


def test_folder_that_cannot_be_made(make_store: MakeStore, make_entry: MakeEntry, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = make_store(make_entry(), folder=tmp_path / "file" / "store")
    with pytest.raises(WeightsError, match=r"^toy cannot be stored in .*MEDSAM2_HOME"):
        store.download("toy")


def test_another_process_downloading_is_not_disturbed(store: WeightsStore, server) -> None:
    store.folder.mkdir()
    command = [sys.executable, "-c", HOLD_LOCK, str(store.folder / ".toy.pt.lock")]
    core = str(Path(module.__file__).parents[2])
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": core}) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"True"
        with pytest.raises(WeightsError, match=r"^toy is being downloaded by another program"):
            store.download("toy")
        other.kill()  # the lock ends with its holder, however it ends
    assert server.requested == []
    assert store.download("toy").is_file()


def test_file_finished_by_another_process_is_taken(store: WeightsStore, server, monkeypatch, content: bytes) -> None:
    store.folder.mkdir()
    states = iter([ModelState.MISSING])

    def state(_: str) -> ModelState:
        (store.folder / "toy.pt").write_bytes(content)
        return next(states)

    monkeypatch.setattr(store, "state", state)
    assert store.download("toy").read_bytes() == content
    assert server.requested == []


def test_lock_is_exclusive_within_a_process(tmp_path: Path) -> None:
    with try_lock(tmp_path / "lock") as first, try_lock(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    with try_lock(tmp_path / "lock") as again:
        assert again


def test_default_store_uses_the_product(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDSAM2_HOME", str(tmp_path))
    store = WeightsStore()
    assert store.folder == tmp_path
    assert "starter" in store.catalog


@pytest.mark.parametrize(
    ("platform", "variable", "default"),
    [
        ("linux", "XDG_DATA_HOME", ".local/share"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
        ("darwin", None, "Library/Application Support"),
    ],
)
def test_user_folder_of_each_platform(monkeypatch, tmp_path: Path, platform: str, variable, default: str) -> None:
    for name in ("MEDSAM2_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert user_folder() == tmp_path / default / "medsam2"
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "data"))
        assert user_folder() == tmp_path / "data" / "medsam2"


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user, of whom the system knows nothing but a number."""
    for name in ("MEDSAM2_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999)


@pytest.mark.skipif(sys.platform == "win32", reason="asks the system's list of users")
@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home_has_the_bundled_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert user_folder() == Path("/.local/share/medsam2")
    assert WeightsStore().state("starter") is ModelState.BUNDLED


def test_a_home_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSAM2_HOME", "~no-such-user/models")
    with pytest.raises(WeightsError, match=r"MEDSAM2_HOME is '~no-such-user/models'.*full path"):
        user_folder()
