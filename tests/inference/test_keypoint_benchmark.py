"""Timing the keypoint systems: all graphs in turns, ratios and likeness in a table."""

import json
import runpy


def test_plain_and_optimised_graphs_are_timed_in_turns(root, tmp_path, capsys):
    run = runpy.run_path(str(root / "scripts" / "benchmark.py"))["run"]
    run(["keypoints", "narrow=8", "rounds=1", f"output={tmp_path}"])
    shown = capsys.readouterr().out
    assert shown == (tmp_path / "keypoints.md").read_text()
    costs = json.loads((tmp_path / "keypoints.json").read_text())["costs"]
    assert [(cost["part"], cost["graph"]) for cost in costs] == [
        ("frame", "plain fp32"),
        ("frame", "optimised fp32"),
        ("frame", "optimised bf16"),
        ("guided step of a window", "plain fp32"),
        ("guided step of a window", "folded fp32"),
        ("guided step of a window", "folded bf16"),
    ]
    assert all(cost["seconds"] > 0 for cost in costs)
    likeness = [cost["psnr_db"] for cost in costs]
    assert likeness[0] is likeness[3] is None
    assert likeness[1] > 80 and likeness[4] > 80 and 30 < likeness[2] < 90 and 30 < likeness[5] < 90
