"""Options of studies: one recipe, several variants, several seeds, one table. Torch-free."""

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


@dataclass(kw_only=True, slots=True)
class StudyMotionRun:
    """Trains variants of a stage-2 recipe on exact animation and measures each on unseen voices."""

    run_dir: Path = Path(
        "outputs/study_motion"
    )  # a folder a variant and seed; what is finished is not redone
    encode: list[str] = field(default_factory=list)  # arguments of encode_motion.py that all caches share
    caches: dict[str, list[str]] = field(default_factory=dict)  # name: arguments of encode_motion.py
    base: list[str] = field(default_factory=list)  # of train_motion.py; {latents} is the folder of the caches
    variants: dict[str, list[str]] = field(default_factory=dict)  # name: arguments of train_motion.py
    only: list[str] = field(default_factory=list)  # names of variants; empty: all
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    probed: list[str] = field(default_factory=lambda: ["test"])  # caches that models are measured on
    num_clips: int = 40  # of each, at most
    # strengths of guidance that every model is also drawn with, by the row's name
    guidance: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, known in (("only", self.variants), ("probed", self.caches)):
            if unknown := [one for one in getattr(self, name) if one not in known]:
                raise ValueError(f"{name}={unknown} is unknown; wanted some of {', '.join(known)}.")
        if not self.seeds or not self.probed or self.num_clips < 2:
            raise ValueError(
                f"seeds={self.seeds}, probed={self.probed}, num_clips={self.num_clips}; wanted at least one "
                "seed, one cache and two clips."
            )
