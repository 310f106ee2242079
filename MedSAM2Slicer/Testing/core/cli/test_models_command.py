"""`medsam2 models ...` through a small parser, on a store of toy files."""

from __future__ import annotations

import argparse
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medsam2_core.cli import models
from medsam2_core.errors import Cancelled, WeightsError
from medsam2_core.weights.catalog import load_catalog
from medsam2_core.weights.store import WeightsStore

CONTENT = b"weights"
Run = Callable[..., int]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsStore:
    tiny = load_catalog()["sam2_hiera_tiny"]
    free = replace(tiny, name="free", file="free.pt", sha256=hashlib.sha256(CONTENT).hexdigest())
    gated = replace(tiny, name="gated", file="gated.pt", permissive=False, size_bytes=None, license_text="Ask first.")
    catalog = {"free": free, "gated": gated}
    store = WeightsStore(tmp_path / "store", catalog, bundled_folder=tmp_path)
    monkeypatch.setattr(models, "_open_store", lambda: store)
    return store


@pytest.fixture
def downloads(store: WeightsStore, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The downloads asked of the store: its own tests cover the network."""
    calls: list[tuple[str, bool]] = []

    def download(name, progress, accept_license):
        if not (accept_license or store.catalog[name].permissive):
            raise WeightsError(store.catalog[name].license_text)
        calls.append((name, accept_license))
        progress(3, None)
        progress(len(CONTENT), len(CONTENT))
        store.folder.mkdir(exist_ok=True)
        (store.folder / f"{name}.pt").write_bytes(CONTENT)

    monkeypatch.setattr(store, "download", download)
    return calls


@pytest.fixture
def run(store: WeightsStore) -> Run:
    def call(*words: str) -> int:
        parser = argparse.ArgumentParser()
        models.add_parser(parser.add_subparsers())
        arguments = parser.parse_args(["models", *words])
        return arguments.command(arguments)

    return call


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _bring(tmp_path: Path) -> str:
    path = tmp_path / "brought.bin"
    path.write_bytes(CONTENT)
    return str(path)


def test_list_is_an_aligned_table(run: Run, capsys, store: WeightsStore) -> None:
    assert run("list") == 0
    out, err = capsys.readouterr()
    heading, free, gated = out.splitlines()
    assert heading.split() == ["name", "state", "size", "MB", "license", "title"]
    assert free.split()[:4] == ["free", "missing", "155.9", "Apache-2.0"]
    assert gated.split()[2] == "?"
    assert heading.index("title") == free.index("SAM 2") == gated.index("SAM 2")
    assert str(store.folder) in err


def test_list_of_the_product_runs(capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDSAM2_HOME", str(tmp_path))
    assert models.list_models(argparse.Namespace()) == 0
    assert "MedSAM2 (Ma/Wang, Toronto)" in capsys.readouterr().out


def test_download_of_a_free_model_asks_nothing(run: Run, downloads, capsys, store: WeightsStore) -> None:
    assert run("download", "free") == 0
    assert downloads == [("free", True)]
    assert str(store.folder / "free.pt") in capsys.readouterr().out


def test_installed_model_is_neither_asked_about_nor_fetched(run: Run, downloads, store: WeightsStore) -> None:
    store.folder.mkdir()
    (store.folder / "gated.pt").write_bytes(CONTENT)
    assert run("download", "gated") == 0
    assert downloads == []


def test_unknown_name_stops_before_any_download(run: Run, downloads) -> None:
    with pytest.raises(WeightsError, match="'fre' is not a known model"):
        run("download", "free", "fre")
    assert downloads == []


def test_license_in_a_script(run: Run, downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(WeightsError, match="Ask first"):
        run("download", "gated")
    assert run("download", "gated", "--accept-license") == 0
    assert downloads == [("gated", True)]


def test_license_at_a_terminal(run: Run, downloads, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for answer in ("n\n", "", "\n"):
        monkeypatch.setattr("sys.stdin", _Terminal(answer))
        with pytest.raises(Cancelled, match=r"^gated was not downloaded"):
            run("download", "gated")
    assert "Ask first." in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", _Terminal("Y\n"))
    assert run("download", "gated") == 0
    assert downloads == [("gated", True)]


def test_import_verify_remove(run: Run, store: WeightsStore, tmp_path: Path, capsys) -> None:
    assert run("import", _bring(tmp_path)) == 0
    assert run("verify") == 0
    assert "free: as published" in capsys.readouterr().out
    assert run("remove", "free") == 0
    assert store.installed() == []


def test_import_as_another_model_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not the model gated"):
        run("import", _bring(tmp_path), "--name", "gated")


def test_verify_reports_every_model(run: Run, store: WeightsStore, tmp_path: Path, capsys) -> None:
    run("import", _bring(tmp_path))
    (store.folder / "gated.pt").write_bytes(b"damaged")
    assert run("verify", "gated", "free") == 1
    out, err = capsys.readouterr()
    assert "free: as published" in out
    assert "gated is damaged" in err


def test_action_is_required(run: Run) -> None:
    with pytest.raises(SystemExit):
        run()
