"""The edits that make a performance do what is asked of it: one function for every way of making a video."""

from __future__ import annotations

import logging
import math

from vasa.face.keypoints.space import KeypointFace
from vasa.face.space import FaceSpace
from vasa.inference.asked import Asked
from vasa.inference.blink import BlinkEdit
from vasa.inference.config import SWEEPS, InferRun
from vasa.inference.edits import Edit
from vasa.inference.follow import DistanceEdit, GazeEdit, MoodEdit
from vasa.inference.generation import Portrait
from vasa.inference.head_edits import TURNS, HeadEdit
from vasa.inference.tracks import EMOTION

log = logging.getLogger(__name__)

WANDERING_DEG, FREE_DEG = 12.0, 90.0
"""Head range of generated motion, and of motion that is somebody's own, which shall not be held back."""


def edits_for(options: InferRun, asked: Asked, face: FaceSpace, portrait: Portrait) -> list[Edit]:
    """What is done to a portrait's motion, after retargeting, so that it does as asked; in order. Without a
    track, and gaze where it is not asked for, the motion model alone is trusted with what it is asked; where
    motion is no model's, moods are added to it.
    """
    _warn_of_turns(asked)
    relative = options.pose == "relative"
    home = None
    framing = 0.0
    if relative:
        home = portrait.motion[:, face.layout.pose].clone()
        framing = float(home[0, face.layout.scale])
        home[:, face.layout.scale] -= math.log(asked.constant("distance") or 1.0)
    generated = options.driving is None and options.motion is None
    range_deg = options.head_range
    if range_deg is None:
        range_deg = WANDERING_DEG if generated and options.regions.head is None else FREE_DEG
    edits: list[Edit] = [HeadEdit(face.layout, asked, home, math.radians(range_deg))]
    if asked.varies("distance"):
        edits.append(DistanceEdit(face, asked, framing))
    if asked.varies("gaze_yaw", "gaze_pitch") or asked.constant("gaze_yaw") or asked.constant("gaze_pitch"):
        edits.append(GazeEdit(face, asked))
    if asked.varies(EMOTION) or (not generated and not isinstance(face, KeypointFace)):
        edits.append(MoodEdit(face, asked, generated))
    if asked.varies("blink_rate") or asked.constant("blink_rate") is not None:
        edits.append(BlinkEdit(face, asked))
    return edits


def _warn_of_turns(asked: Asked) -> None:
    """Says how far a head was turned where its pictures were measured, if it shall turn further."""
    for name in TURNS:
        measured = max(float(value) for value in SWEEPS[name])
        wanted = math.degrees(asked.most(name))
        if wanted > measured + 1e-6:
            log.warning(
                "%s goes to %.3g degrees; pictures were measured up to %.3g: what turns into sight further "
                "on is in no portrait, and tears (docs/editing.md).",
                name,
                wanted,
                measured,
            )
