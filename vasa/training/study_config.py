"""Options of studies of stage 1: one trunk, several variants, several seeds, one table. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(kw_only=True, slots=True)
class ProbeOptions:
    """On what a face space is probed (training/face_probe.py)."""

    people: int = 64  # held-out identities, rendered once
    batches: int = 12
    batch_size: int = 48
    judges: Path = Path("checkpoints/judges")

    def __post_init__(self) -> None:
        if self.people < 8 or min(self.batches, self.batch_size) < 1:
            raise ValueError(
                f"probe: {self.people} people in {self.batches} batches of {self.batch_size}; wanted at "
                "least 8 people and one batch of one."
            )


@dataclass(kw_only=True, slots=True)
class StudyFaceRun:
    """Trains variants of a stage-1 recipe from one trunk and measures each on unseen people."""

    run_dir: Path = Path("outputs/study_face")  # a folder a variant and seed; what is finished is not redone
    base: list[str] = field(default_factory=list)  # arguments of train_face.py that all variants share
    variants: dict[str, list[str]] = field(default_factory=dict)  # name: arguments of train_face.py
    only: list[str] = field(default_factory=list)  # names of variants; empty: all
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])  # of the order of the samples, and the loop
    probe: ProbeOptions = field(default_factory=ProbeOptions)

    def __post_init__(self) -> None:
        unknown = [name for name in self.only if name not in self.variants]
        if unknown:
            raise ValueError(f"only={unknown} is unknown; wanted some of {', '.join(self.variants)}.")
        if not self.seeds:
            raise ValueError("seeds=[] leaves nothing to train; wanted at least one seed.")
