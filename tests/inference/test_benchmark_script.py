"""The script of the table, from the outside: a tiny checkpoint and tiny judges give every row, twice."""

import json
import runpy

import pytest
import torch

from vasa.inference.bundle import bundle
from vasa.inference.config import BundleRun
from vasa.pretrained.config import EmotionNetConfig, IdentityNetConfig, LandmarkNetConfig, RegionNetConfig
from vasa.pretrained.emotion import EmotionNet
from vasa.pretrained.expression import ExpressionNet
from vasa.pretrained.files import save_network
from vasa.pretrained.identity import IdentityNet
from vasa.pretrained.landmarks import LandmarkNet

SMALL = [8, 8, 8, 8, 8]


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """Untrained networks under the names of the registry."""
    folder = tmp_path_factory.mktemp("judges")
    torch.manual_seed(0)
    points = LandmarkNetConfig(size=64, widths=SMALL, decoder_width=8)
    regions = {"widths": SMALL[:4], "squeeze": 4, "hidden": 8}
    networks = {
        "landmarks": LandmarkNet(points),
        "judge_pose": LandmarkNet(points),
        "judge_expression": ExpressionNet(RegionNetConfig(**regions)),
        "judge_emotion": EmotionNet(EmotionNetConfig(hidden=8)),
        "judge_identity": IdentityNet(IdentityNetConfig(widths=SMALL[:4], embedding_dim=8)),
    }
    for name, network in networks.items():
        save_network(network, folder / f"{name}.safetensors", {})
    return folder


@pytest.fixture
def benchmark(root):
    return runpy.run_path(str(root / "scripts" / "benchmark_demo.py"))["run"]


def arguments(tmp_path, judges, checkpoint):
    sizes = [
        "size=64",
        "quality=draft",
        "pairs=2",
        "clips=2",
        "clip_seconds=1",
        "asked_clips=2",
        "asked_frames=2",
    ]
    given = [f"checkpoint={checkpoint}", f"judges={judges}", f"output={tmp_path / 'out'}", "trials=quick"]
    return [*given, *(f"trials.{size}" for size in sizes)]


def test_every_row_is_there(benchmark, judges, tiny_runs, tmp_path, capsys):
    checkpoint = bundle(BundleRun(face=tiny_runs, motion=tiny_runs, output=tmp_path / "tiny"))
    benchmark(arguments(tmp_path, judges, checkpoint))
    table = (tmp_path / "out" / "benchmark.md").read_text()
    assert table in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert len(written["rows"]) == len(written["values"]) == 28
    measured = [row["name"] for row in written["values"] if row["value"] is not None]
    assert len(measured) == 18 and not any(name.startswith(("real", "photo")) for name in measured)
    assert written["context"]["trials"]["pairs"] == 2
    with_numbers = bundle(
        BundleRun(
            face=tiny_runs,
            motion=tiny_runs,
            output=tmp_path / "card",
            results=tmp_path / "out" / "benchmark.json",
        )
    )
    assert "judge on true frames" in (with_numbers / "README.md").read_text()


def test_missing_judges_end_in_one_sentence(benchmark, tiny_runs, tmp_path, capsys):
    checkpoint = bundle(BundleRun(face=tiny_runs, motion=tiny_runs, output=tmp_path / "tiny"))
    with pytest.raises(SystemExit) as stop:
        benchmark(arguments(tmp_path, tmp_path / "nowhere", checkpoint))
    assert stop.value.code == 1
    assert "train_judges.py only=[landmarks]" in capsys.readouterr().err
