"""Files of frozen networks: found where publishers keep them, compared, remembered, fetched; and licences."""

from __future__ import annotations

import functools
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vasa.checkpoint import CheckpointError
from vasa.pretrained.config import IdentityNetConfig, WeightsRun
from vasa.pretrained.files import save_network
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.registry import NETWORKS, check_licence
from vasa.pretrained.store import check, fetch, hashes_file, place_of, weights

CONTENT = b"weights of something"
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture(autouse=True)
def _homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("VASA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of a server on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()


def listed(monkeypatch: pytest.MonkeyPatch, name: str, **fields: str) -> Path:
    """Changes an entry of the registry; where its file is looked for."""
    network = replace(NETWORKS[name], **fields)
    monkeypatch.setitem(NETWORKS, name, network)
    path = place_of(network)
    assert path is not None
    return path


def test_a_file_is_fetched_once_to_where_its_publishers_keep_it(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    (folder / "vgg.pth").write_bytes(CONTENT)
    path = listed(monkeypatch, "vgg19", url=f"{address}/vgg.pth", sha256=SHA256[:8])
    assert path == tmp_path / "torch" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    assert fetch("vgg19") == path and path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    (folder / "vgg.pth").unlink()
    assert fetch("vgg19") == path  # it is there
    assert "as listed" in check(path)


def test_a_file_inside_an_archive_is_taken_out(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder = server
    with zipfile.ZipFile(folder / "buffalo_l.zip", "w") as archive:
        archive.writestr("det_10g.onnx", b"another")
        archive.writestr("w600k_r50.onnx", CONTENT)
    url = f"{address}/buffalo_l.zip"
    path = listed(monkeypatch, "arcface_w600k_r50", url=f"{url}#w600k_r50.onnx", sha256=SHA256)
    assert path == tmp_path / "home" / ".insightface" / "models" / "buffalo_l" / "w600k_r50.onnx"
    assert fetch("arcface_w600k_r50").read_bytes() == CONTENT
    path.unlink()
    listed(monkeypatch, "arcface_w600k_r50", url=f"{url}#w600k_r99.onnx")
    with pytest.raises(CheckpointError, match="holds no w600k_r99.onnx"):
        fetch("arcface_w600k_r50")


@pytest.mark.parametrize("hashes", [{"sha256": "0123456789"}, {"sha256": "", "md5": "0" * 32}])
def test_another_file_is_not_kept(
    server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, hashes: dict[str, str]
) -> None:
    address, folder = server
    (folder / "vgg.pth").write_bytes(CONTENT)
    path = listed(monkeypatch, "vgg19", url=f"{address}/vgg.pth", **hashes)
    with pytest.raises(CheckpointError, match="is not vgg19: its .* is listed"):
        fetch("vgg19")
    assert not list(path.parent.iterdir())


def test_without_a_network_one_sentence_says_what_to_put_where(monkeypatch: pytest.MonkeyPatch) -> None:
    path = listed(monkeypatch, "vgg19", url="http://127.0.0.1:1/vgg.pth")
    with pytest.raises(ConnectionError, match=f"cannot be reached .*put {path.name} to {path.parent}"):
        fetch("vgg19")
    assert not list(path.parent.iterdir())
    with pytest.raises(ValueError, match="no direct address; get it from github.com/wilson1yan"):
        fetch("i3d")
    with pytest.raises(ValueError, match=r"train_judges.py only=\[teacher_identity\]"):
        fetch("teacher_identity")


def test_a_file_without_a_listed_hash_is_remembered_and_may_not_change(tmp_path: Path) -> None:
    path = tmp_path / "vgg_face_dag.pth"
    path.write_bytes(CONTENT)
    assert check(path) == "remembered from now on"
    assert SHA256 in hashes_file().read_text()
    assert check(path) == "as remembered"
    assert SHA256[:8] in weights(WeightsRun(names=["vgg_face"]))
    path.write_bytes(b"other weights")
    with pytest.raises(CheckpointError, match=f"has changed.*{hashes_file().name}"):
        check(path)
    hashes_file().write_text("nothing of the kind")
    with pytest.raises(CheckpointError, match="delete it"):
        check(path)


def test_a_file_that_cannot_be_remembered_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_bytes(b"")
    monkeypatch.setenv("VASA_CACHE", str(tmp_path / "a file"))  # no folder can be made there
    (tmp_path / "vgg_face_dag.pth").write_bytes(CONTENT)
    assert "none can be kept" in check(tmp_path / "vgg_face_dag.pth")


def test_authors_md5_counts_where_they_gave_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / NETWORKS["rt_gene"].file
    path.write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match="MD5"):
        check(path)
    listed(monkeypatch, "rt_gene", md5=MD5)
    assert "as listed (its project's download_tools.py)" in check(path)


def test_verifying_tells_of_all_files_that_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = IdentityNet(IdentityNetConfig(widths=[4, 4, 4, 4], embedding_dim=4))
    save_network(small, tmp_path / "teacher_identity.safetensors", {})
    run = WeightsRun(action="verify", names=["teacher_identity", "vgg19", "scrfd_2.5g"], judges=tmp_path)
    lines = weights(run).splitlines()
    assert "has its own hash" in lines[0] and all("not in its usual place" in line for line in lines[1:])
    for name in ("vgg19", "alexnet"):
        path = place_of(NETWORKS[name])
        assert path is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    with pytest.raises(CheckpointError, match="is not vgg19.*is not alexnet"):
        weights(WeightsRun(action="verify", judges=tmp_path))


def test_the_table_shows_every_network_and_what_is_here(tmp_path: Path) -> None:
    (tmp_path / NETWORKS["landmarks"].file).write_bytes(b"")
    rows = weights(WeightsRun(judges=tmp_path)).splitlines()[2:]
    assert [row.split(" | ")[0].lstrip("| ") for row in rows] == list(NETWORKS)
    assert all(row.count(" | ") == 7 for row in rows)
    assert [row.split(" | ")[0].lstrip("| ") for row in rows if " | yes | inside" in row] == ["landmarks"]


@pytest.mark.parametrize(("action", "names"), [("fetch", []), ("list", ["vgg91"])])
def test_names_that_cannot_be_meant_are_refused(action: str, names: list[str]) -> None:
    with pytest.raises(ValueError, match="wanted some of .*vgg19"):
        weights(WeightsRun(action=action, names=names))
    with pytest.raises(ValueError, match="list, verify, fetch"):
        WeightsRun(action="get")


def test_no_hash_is_listed_without_saying_who_says_so() -> None:
    for network in NETWORKS.values():
        assert bool(network.sha256 or network.md5) == bool(network.hash_source), network.name
        assert not set(network.sha256 + network.md5) - set("0123456789abcdef")
        if "file name" in network.hash_source:
            assert f"-{network.sha256}." in network.file


def test_a_commercial_run_refuses_what_its_licence_forbids_and_says_how_to_do_without() -> None:
    names = ["vgg19", "vgg_face", "teacher_identity", "arcface_w600k_r50", "rt_gene"]
    check_licence(names, "any")
    check_licence(["vgg19", "teacher_identity", "landmarks"], "commercial_ok")
    with pytest.raises(ValueError) as error:
        check_licence(names, "commercial_ok")
    for forbidden, instead in (("vgg_face", "face"), ("arcface_w600k_r50", "identity"), ("rt_gene", "gaze")):
        assert forbidden in str(error.value) and f"teachers.{instead}=standin" in str(error.value)
    assert "vgg19" not in str(error.value)
    with pytest.raises(ValueError, match="any, commercial_ok"):
        check_licence([], "commercial")
