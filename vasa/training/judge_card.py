"""The card of the frozen stand-in networks:

What each saw, for how long, and what it is worth on unseen people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vasa.checkpoint import Weights, atomic_path, load_weights
from vasa.pretrained.registry import NETWORKS

CARD = "README.md"
_INTRODUCTION = """# Frozen stand-in networks

Small networks that this project trained itself, on procedurally drawn people only (`python
scripts/train_judges.py`); no picture of a real person was used. Judges measure and are in no loss; teachers
are in losses and in preprocessing and measure nothing; the aligner finds landmarks where no detector is
given. Judges, teachers and clips share no person, seed or design.

Scores are on unseen procedural people in full quality (`validation_portrait`) and with random textures
(`validation_randomised`); crops cut by true landmarks. Pose in degrees, points in shares of the distance
between the outer eye corners, controls and emotions as Pearson's r, verification as accuracy at the best
threshold. On photographs they are
approximate: the mouth's opening, blinks and the head's turn carry over, identity and fine expression hardly.
CAPP's are mean cosines on clips of other voices (`held_out`), beside VASA-1's own on real video (`paper`):
the two share their shape, not their height.
"""


def write_card(folder: Path) -> Path:
    """Writes README.md beside the networks that are there."""
    lines = [_INTRODUCTION]
    for network in NETWORKS.values():
        path = folder / network.file
        if network.is_ours and path.is_file():
            lines += _section(network.name, network.role, network.needed_by, load_weights(path), path)
    with atomic_path(folder / CARD) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    return folder / CARD


def _section(name: str, role: str, needed_by: str, weights: Weights, path: Path) -> list[str]:
    meta: dict[str, Any] = weights.meta
    million = sum(tensor.numel() for tensor in weights.tensors.values()) / 1e6
    seen = ", ".join(meta["judge"]["pools"]) or "clips of its own"
    facts = (
        f"{role.capitalize()}, for {needed_by}. {million:.2f} M numbers, {path.stat().st_size / 1e6:.2f} MB; "
        f"{meta['samples']} samples in {meta['steps']} steps, of {seen}."
    )
    scores: dict[str, dict[str, float]] = {}
    for key, value in meta["scores"].items():
        pool, score = key.split("/", 1)
        scores.setdefault(score, {})[pool] = value
    pools = sorted({pool for by_pool in scores.values() for pool in by_pool})
    table = [f"| | {' | '.join(pools)} |", "|---|" + "---|" * len(pools)]
    for score, by_pool in scores.items():
        cells = (f"{by_pool[pool]:.3g}" if pool in by_pool else "" for pool in pools)
        table.append(f"| {score} | {' | '.join(cells)} |")
    return [f"## {name}", "", facts, "", *(table if scores else []), ""]
