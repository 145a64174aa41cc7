"""Pairs of frames for stage 1, rendered once into a cache and drawn as a pure function of (seed, sample
position).

Identities come in couples that share one list of animations. So frame t of one is the exact cross-reenactment
of frame t of the other, and costs nothing. The second half of the list repeats the poses of the first half
with other expressions: same-pose pairs teach the small motions of lips and lids.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vasa.checkpoint import atomic_path
from vasa.data.config import SPLIT_SEEDS, FramePairsConfig
from vasa.data.synthetic.animation import random_animation
from vasa.data.synthetic.clips import talking_clip
from vasa.data.synthetic.heads import make_identities, neutral_landmarks
from vasa.data.synthetic.renderer import Rendered, flow, render
from vasa.records import Animation

PARTNERS = 3
"""Sources stored for each target: the frame with the same pose, and two others."""
COUPLES_PER_SHARD = 8
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class FacePairs:
    """A batch of B training samples; images uint8 (B, S, S, 3), everything else float unless said.

    source and target show one person. driver lends its motion: the target itself, or another person under
    the target's animation (is_cross (B,) bool), which only procedural heads can show. other: a frame of
    another person, moving by itself. ids name the samples.

    What the driver's augmentation is drawn from, for source and driver each: jitter (B, 2, 7), colour gains,
    offsets and log gamma; warp (B, 2, 7, 7, 2), standard normal, the inner nodes of a grid of 8 x 8 cells;
    nudge (B, 2, 6), standard normal, of the pose by which crops are cut.

    None where a record has no truth, as real video: poses (B, 6) and controls (B, 11). landmarks (B, 68, 3):
    the source person's neutral ones, head frame; source_points and target_points (B, 68, 2) the frames' own,
    image coordinates. flow (B, S/2, S/2, 2): where each target pixel lies in the source; visible
    (B, S/2, S/2): 1 where it shows there. eye_boxes (B, 2, 4), mouth_box (B, 4) of the target. mask (B, S, S)
    uint8: 255 where the target shows the person, 0 in the background.

    measured_points (B, 3, 68, 2): landmarks of source, target and other where an estimator found them; no
    label: trainings without labels use them, too.
    """

    source: Tensor
    target: Tensor
    driver: Tensor
    other: Tensor
    is_cross: Tensor
    jitter: Tensor
    warp: Tensor
    nudge: Tensor
    ids: list[str]
    source_pose: Tensor | None = None
    source_controls: Tensor | None = None
    target_pose: Tensor | None = None
    target_controls: Tensor | None = None
    landmarks: Tensor | None = None
    source_points: Tensor | None = None
    target_points: Tensor | None = None
    flow: Tensor | None = None
    visible: Tensor | None = None
    eye_boxes: Tensor | None = None
    mouth_box: Tensor | None = None
    mask: Tensor | None = None
    measured_points: Tensor | None = None


def couple_animation(config: FramePairsConfig, seed: int) -> Animation:
    """The frames of a couple that begins at identity ``seed``.

    The first is mild, as portraits are; poses repeat from the middle on. Wild expressions exercise every
    control by itself, and so hardly ever meet what speech does with lips and jaw together: talking ones are
    moments of a talking clip.
    """
    half, frames = config.frames // 2, config.frames
    animation = random_animation([seed * 1009 + n for n in range(frames)])
    pose, controls = animation.pose.clone(), animation.controls.clone()
    if config.talking_share > 0:
        rng = np.random.default_rng((seed, 13))
        talking = rng.random(frames) < config.talking_share
        spoken = talking_clip(config.split, config.seed, seed - SPLIT_SEEDS[config.split].start)
        assert spoken.truth.animation is not None
        moments = rng.choice(spoken.num_frames, frames, replace=frames > spoken.num_frames)
        controls[talking] = spoken.truth.animation.controls[moments[talking]]
    pose[0], controls[0] = pose[0] * 0.3, controls[0] * 0.3
    pose[half:] = pose[:half]
    return Animation(pose, controls)


def _partners(seed: int, frames: int) -> np.ndarray:
    """(frames, PARTNERS) source frame of each target: its twin of equal pose first, then others."""
    rng = np.random.default_rng((seed, 7))
    rows = []
    for target in range(frames):
        twin = (target + frames // 2) % frames
        others = [n for n in range(frames) if n not in (target, twin)]
        rows.append([twin, *rng.choice(others, PARTNERS - 1, replace=False)])
    return np.array(rows)


def _render_couple(config: FramePairsConfig, couple: int) -> list[dict[str, Tensor]]:
    """All frames and truths of the two identities of a couple."""
    seeds = SPLIT_SEEDS[config.split]
    first = seeds.start + (config.seed * 7919 + couple) * 2
    rng = np.random.default_rng((config.seed, couple, 11))
    mode = "randomised" if rng.random() < config.randomised_share else "portrait"
    animation = couple_animation(config, first)
    partners = _partners(first, config.frames)
    found = []
    for seed in (first, first + 1):
        one = make_identities([seed], mode=mode)
        people = one[[0] * config.frames]
        frames = render(people, animation, size=config.size, quality=config.quality)
        flows, seen = [], []
        for column in range(PARTNERS):
            index = torch.from_numpy(partners[:, column])
            grid, visible = flow(frames, people, animation[index], _rows(frames, index))
            flows.append(_halve(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
            seen.append(_halve(visible[:, None].float())[:, 0])
        found.append(
            {
                "images": (frames.image.permute(0, 2, 3, 1) * 255).round().to(torch.uint8),
                "flow": torch.stack(flows, 1).half(),
                "visible": (torch.stack(seen, 1) * 255).round().to(torch.uint8),
                "points": frames.landmarks.float(),
                "eye_boxes": frames.eye_boxes.float(),
                "mouth_box": frames.mouth_box.float(),
                "pose": animation.pose,
                "controls": animation.controls,
                "landmarks": neutral_landmarks(one)[0].float(),
                "partners": torch.from_numpy(partners),
            }
        )
        if config.masks:
            found[-1]["mask"] = (frames.mask > 0).to(torch.uint8) * 255
    return found


def _rows(frames: Rendered, index: Tensor) -> Rendered:
    return Rendered(*(getattr(frames, f.name)[index] for f in fields(Rendered)))


def _halve(image: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(image.float(), 2)


class FramePairs:
    """The cache and its batches.

    Rendering happens in ``prepare`` (all missing shards; a killed preparation goes on where it was). Raises
    ValueError when the folder was made with other options.
    """

    def __init__(self, config: FramePairsConfig) -> None:
        self.config = config
        share = round(config.randomised_share * 100)
        name = f"{config.split}_{config.size}_{config.quality}_{config.frames}_{share}_{config.seed}"
        if config.talking_share > 0:
            name += f"_talking_{round(config.talking_share * 100)}"
        if config.masks:
            name += "_masks"
        self.folder = Path(config.cache) / name
        self._open: dict[int, dict[str, Tensor]] = {}

    @property
    def num_shards(self) -> int:
        return -(-self.config.num_identities // (2 * COUPLES_PER_SHARD))

    def shard_path(self, shard: int) -> Path:
        return self.folder / f"shard_{shard:05d}.safetensors"

    def prepare(self, shards: range | None = None) -> None:
        """Renders what is missing (of ``shards``, by default all), with progress; of several processes
        (torchrun's variables) each begins at another one.
        """
        todo = [s for s in (shards or range(self.num_shards)) if not self.shard_path(s).exists()]
        first = len(todo) * int(os.environ.get("RANK", 0)) // int(os.environ.get("WORLD_SIZE", 1))
        todo = todo[first:] + todo[:first]
        begun = time.monotonic()
        for done, shard in enumerate(todo):
            if self.shard_path(shard).exists():
                continue
            people = [
                person
                for couple in range(shard * COUPLES_PER_SHARD, (shard + 1) * COUPLES_PER_SHARD)
                for person in _render_couple(self.config, couple)
            ]
            tensors = {key: torch.stack([person[key] for person in people]).contiguous() for key in people[0]}
            with atomic_path(self.shard_path(shard)) as temporary:
                save_file(tensors, temporary)
            left = (time.monotonic() - begun) / (done + 1) * (len(todo) - done - 1)
            _log.info("frames: shard %d of %d rendered, %.0f s left", done + 1, len(todo), left)

    def _shard(self, shard: int) -> dict[str, Tensor]:
        """All tensors of a shard, memory-mapped by safetensors where the system allows."""
        if shard not in self._open:
            path = self.shard_path(shard)
            if not path.exists():
                raise FileNotFoundError(
                    f"{path} is missing: the cache was not prepared to {self.config.num_identities} "
                    "identities; call prepare()."
                )
            with safe_open(path, framework="pt") as file:
                self._open[shard] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return self._open[shard]

    def sample(self, position: int) -> dict[str, Tensor | str]:
        """One sample, a function of (seed, position)."""
        config = self.config
        order = (config.draw_seed,) if config.draw_seed else ()
        rng = np.random.default_rng((config.seed, position, 23, *order))
        person, target, column = (
            rng.integers(config.num_identities),
            rng.integers(config.frames),
            rng.choice(
                PARTNERS, p=[config.twin_share, *[(1 - config.twin_share) / (PARTNERS - 1)] * (PARTNERS - 1)]
            ),
        )
        cross = rng.random() < config.cross_share
        shard, row = self._person(int(person))
        source = int(shard["partners"][row, target, column])
        images = shard["images"]
        driver = images[row ^ 1, target] if cross else images[row, target]
        jitter = rng.normal(0, config.colour_jitter, (2, 7)).astype(np.float32)
        # another couple's person: one's own partner shares the animation
        step = rng.integers(2, config.num_identities) if config.num_identities > 2 else 1
        stranger, its_row = self._person(int((person // 2 * 2 + step) % config.num_identities))
        truth = {
            "source_pose": shard["pose"][row, source],
            "source_controls": shard["controls"][row, source],
            "target_pose": shard["pose"][row, target],
            "target_controls": shard["controls"][row, target],
            "landmarks": shard["landmarks"][row],
            "source_points": shard["points"][row, source],
            "target_points": shard["points"][row, target],
            "flow": shard["flow"][row, target, column].float(),
            "visible": shard["visible"][row, target, column].float() / 255,
            "eye_boxes": shard["eye_boxes"][row, target],
            "mouth_box": shard["mouth_box"][row, target],
        }
        if config.masks:
            truth["mask"] = shard["mask"][row, target]
        return {
            "source": images[row, source],
            "target": images[row, target],
            "driver": driver,
            "other": stranger["images"][its_row, rng.integers(config.frames)],
            "is_cross": torch.tensor(bool(cross)),
            "jitter": torch.from_numpy(jitter),
            "warp": torch.from_numpy(rng.standard_normal((2, 7, 7, 2), np.float32)),
            "nudge": torch.from_numpy(rng.standard_normal((2, 6), np.float32)),
            "ids": f"{config.split}-{int(person)}:{source}->{int(target)}{'x' if cross else ''}",
            **truth,
        }

    def _person(self, person: int) -> tuple[dict[str, Tensor], int]:
        """The shard that a person is in, and the row there."""
        return self._shard(person // (2 * COUPLES_PER_SHARD)), person % (2 * COUPLES_PER_SHARD)

    def batch_at(self, step: int, batch_size: int, rows: slice = slice(None)) -> FacePairs:
        """The global batch of a step, or some rows of it: positions step * batch_size onwards."""
        samples = [self.sample(step * batch_size + n) for n in range(batch_size)[rows]]
        return FacePairs(**{key: _together([s[key] for s in samples]) for key in samples[0]})


def _together(values: list[Any]) -> Any:
    """One field of all samples: tensors stacked, names listed."""
    return torch.stack(values) if isinstance(values[0], Tensor) else values
