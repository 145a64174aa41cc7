"""A study trains each variant and seed once, probes it on unseen people, and says so in a table."""

import json

import pytest

from vasa.config import load
from vasa.training.study import study_face


def arguments(out, cache, seeds):
    base = [
        "experiment=label_free", "face=tiny", "face.source_pixels=false", "init_pose=null",
        "freeze_pose=false",
        f"pairs.cache={cache}", "pairs.frames=4", "pairs.num_identities=16", "low_steps=0", "run=smoke",
        "losses.change_steps=0", "losses.hold_codes=false", "loop.steps=2", "loop.batch_size=4",
        "loop.save_every=2", "loop.logger=none",
    ]  # fmt: skip
    run = load("study_face", [f"run_dir={out}", f"seeds={seeds}", "probe.people=16", "probe.batches=2"])
    run.probe.batch_size, run.base = 8, base
    run.variants = {"with": [], "without": ["losses.consistency=0"]}
    return run


def train_face_run(given):
    return load("train_face", given)


def test_a_study_measures_every_variant_and_seed_once(tmp_path):
    out, cache = tmp_path / "study", tmp_path / "frames"
    table = study_face(arguments(out, cache, [0]), train_face_run)
    first = {path: path.stat().st_mtime_ns for path in out.rglob("face.safetensors")}
    assert len(first) == 2
    again = study_face(arguments(out, cache, [0, 1]), train_face_run)
    assert all(path.stat().st_mtime_ns == when for path, when in first.items())
    assert len(list(out.rglob("probe.json"))) == 4
    rows = again.read_text(encoding="utf-8").splitlines()
    assert table == again and "Seeds 0, 1" in rows[0]
    assert [row.split("|")[1].strip() for row in rows if row.startswith("| with")] == ["with", "without"] * 2
    found = json.loads((out / "with" / "1" / "probe.json").read_text())["scores"]
    other = json.loads((out / "with" / "0" / "probe.json").read_text())["scores"]
    assert found != other, "seeds draw other samples"
    assert -1 <= found["reach"] <= 1 and 0.3 < found["ceiling"] <= 1 and found["leak"] <= 1
    changed = arguments(out, cache, [0])
    changed.base += ["losses.l1=2"]
    with pytest.raises(ValueError, match=r"losses.l1 was 1.0, is 2.0.*remove"):
        study_face(changed, train_face_run)
