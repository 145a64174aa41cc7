"""``vs=COMMIT``: both trees run their own code, and the clone is left as it was, whatever happens."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path

import pytest
from tiny_files import write_tiny_runs

from vasa.benchmark import revisions
from vasa.benchmark.revisions import commit_of, worktree
from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", "-C", folder, *who, *words], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of two commits, taken for the project."""
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "-q")
    for text in ("old", "new"):
        (folder / "file").write_text(text)
        git(folder, "add", "file")
        git(folder, "commit", "-qm", text)
    monkeypatch.setattr(revisions, "ROOT", folder)
    return folder


def test_a_commit_is_there_for_as_long_as_it_is_wanted(clone: Path, tmp_path: Path) -> None:
    (clone / "file").write_text("changed")
    before = git(clone, "worktree", "list"), git(clone, "status", "--short")
    with worktree(commit_of("HEAD~1"), tmp_path / "tree") as tree:
        assert (tree / "file").read_text() == "old"
        (tree / "made").write_text("by running it")
    assert not (tmp_path / "tree").exists() and (clone / "file").read_text() == "changed"
    assert (git(clone, "worktree", "list"), git(clone, "status", "--short")) == before
    with pytest.raises(KeyboardInterrupt), worktree(commit_of("HEAD"), tmp_path / "tree"):
        raise KeyboardInterrupt
    assert not (tmp_path / "tree").exists() and git(clone, "worktree", "list") == before[0]


def test_what_is_no_commit_is_refused_in_a_sentence(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nowhere", "--all", "HEAD~9"):
        with pytest.raises(ValueError, match=f"vs={name} is no commit that this clone knows"):
            commit_of(name)
    monkeypatch.setattr(revisions, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="wants a git clone"):
        commit_of("HEAD")


@pytest.mark.timeout(900)  # six starts of torch
def test_a_tree_is_compared_with_its_own_commit(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if subprocess.run(["git", "-C", root, "rev-parse", "--verify", "-q", "HEAD"]).returncode:
        pytest.skip("no git clone here, so no commit to compare with")
    runs = write_tiny_runs(tmp_path / "runs", root)
    checkpoint = bundle(BundleRun(face=runs, motion=runs, output=tmp_path / "tiny"))
    before = git(root, "worktree", "list"), git(root, "status", "--short")
    run = runpy.run_path(str(root / "scripts" / "benchmark.py"))["run"]
    words = ["vs=HEAD", "sizes=64", "batches=2", "rounds=2", "clip_seconds=0.2", "device=cpu"]
    run(["all", *words, f"checkpoint={checkpoint}", f"output={tmp_path / 'out'}"])
    assert (git(root, "worktree", "list"), git(root, "status", "--short")) == before
    assert capsys.readouterr().out == (tmp_path / "out" / "vs.md").read_text()
    found = json.loads((tmp_path / "out" / "vs.json").read_text())
    assert found["frames"] == 5 and found["commit"] == git(root, "rev-parse", "HEAD").strip()
    assert found["ratios"].keys() == {"wall", "cpu", "start"}
    for name, ratio in found["ratios"].items():
        assert 0 < ratio["low"] <= ratio["value"] <= ratio["high"] and ratio["rounds"] == 2
        assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in found["seconds"][name])


def test_a_tree_that_fails_is_named_with_its_last_words(clone: Path, tmp_path: Path) -> None:
    (clone / "vasa").mkdir()
    (clone / "vasa" / "__init__.py").write_text("raise SystemExit('no such face')")
    with pytest.raises(OSError, match="this tree cannot make the video: no such face"):
        revisions._measured(clone, {}, tmp_path)
