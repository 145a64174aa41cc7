"""Options that would do nothing beside others: each is refused in a sentence, because a video that was made
without them would look as if they had been heeded.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from vasa.inference.asked import Asked
from vasa.inference.config import RegionFiles, VideoOptions

GENERATED = ("steps", "guidance", "live")
"""What only a motion model that generates can heed."""
OF_FRAMING = ("paste", "background", "allow_centre_crop", "face_box")
"""What says how a photograph is cut and shown."""
PHOTOGRAPHS = ("driving", "motion", "regions", "only", *OF_FRAMING, "keep_expression", "pose")
"""What goes with a photograph alone, not with a video whose lips are exchanged."""
OF_KEPT: dict[str, tuple[str, ...]] = {
    "head": (
        "head_motion",
        "head_yaw",
        "head_pitch",
        "head_roll",
        "head_range",
        "distance",
    ),
    "eyes": ("gaze_yaw", "gaze_pitch", "blink_rate"),
}
"""Controls of what a source video keeps. (A mood moves the lips, too.)"""


def given(options: VideoOptions, names: tuple[str, ...]) -> list[str]:
    """Those of ``names`` that are not at their defaults."""
    blank = VideoOptions()
    return [name for name in names if getattr(options, name) != getattr(blank, name)]


def check_together(options: VideoOptions) -> None:
    """Raises: ValueError where an option could not be heeded beside another."""
    other = next((name for name in ("driving", "motion") if getattr(options, name) is not None), None)
    unheard = given(options, GENERATED) if other else []
    if unheard:
        raise ValueError(
            f"{_and(unheard)} {_is(unheard)} given with {other}={getattr(options, other or '')}, where no "
            f"motion is generated; leave {_it(unheard)} out."
        )
    if options.face_box is not None and options.image is None:
        raise ValueError(f"face_box={options.face_box} comes without an image; give one, or leave it out.")
    regions: dict[str, Any] = options.regions.as_dict()
    dropped = {
        "all": [],
        "pose": [f.name for f in fields(RegionFiles) if f.name != "head"],
        "dynamics": ["head"],
    }[options.only]
    for name in dropped:
        if name in regions:
            raise ValueError(
                f"regions.{name}={regions[name]} comes with only={options.only}, which leaves that region at "
                "rest; leave one of them out."
            )


def check_with_video(options: VideoOptions, asked: Asked) -> None:
    """As ``check_together``, where the image is a video. Raises: ValueError."""
    _check_is_of_videos(options, PHOTOGRAPHS)
    for region, names in OF_KEPT.items():
        if region not in options.kept:
            continue
        idle = _idle(options, asked, names)
        if idle:
            raise ValueError(
                f"{_and(idle)} {_is(idle)} given, but of the video {str(options.image)!r} the {region} "
                f"{'are' if region == 'eyes' else 'is'} kept; leave {region} out of keep={options.keep}, or "
                f"{_it(idle)} out."
            )


def moves_head(region: str) -> bool:
    """Whether a source video's head follows, of keypoints.region."""
    return region in ("auto", "all", "pose")


def check_with_keypoint_video(options: VideoOptions, asked: Asked, species: str) -> None:
    """The same in a keypoint space. Raises: ValueError."""
    if species != "human":
        raise ValueError(
            f"image {str(options.image)!r} is a video, and this checkpoint's weights are of animals, which "
            "are shown from photographs only; give a picture."
        )
    speaks, rules = options.driving is None and options.motion is None, options.keypoints
    _check_is_of_videos(options, (*OF_FRAMING, *(("pose",) if speaks else ())))
    _refuse_rules(options, OF_PHOTOGRAPHS, f"but image {str(options.image)!r} is a video, which has no such")
    if moves_head(rules.region) and not (speaks and rules.region == "auto"):
        return
    idle = _idle(options, asked, OF_KEPT["head"])
    if idle:
        raise ValueError(
            f"{_and(idle)} {_is(idle)} given, but of the video {str(options.image)!r} the head is kept; give "
            f"keypoints.region=all, or leave {_it(idle)} out."
        )


def _idle(options: VideoOptions, asked: Asked, names: tuple[str, ...]) -> list[str]:
    """Those of ``names`` that are given, or have a track."""
    return sorted({*given(options, names), *(name for name in names if asked.varies(name))})


def _check_is_of_videos(options: VideoOptions, names: tuple[str, ...]) -> None:
    unfit = given(options, names)
    if unfit:
        one = len(unfit) == 1
        raise ValueError(
            f"image {str(options.image)!r} is a video, whose own motion and picture stay; the "
            f"{'option' if one else 'options'} {_and(unfit)} {'goes' if one else 'go'} with a photograph: "
            f"leave {_it(unfit)} out."
        )


UNSAID = ("gaze_yaw", "gaze_pitch", "emotion", "blink_rate", "regions", "only", "keep_expression", "keep")
"""What a space of keypoints has no labels for: it was learned without any."""
OF_SOURCE_VIDEOS = ("open_source_eyes", "smooth")
OF_PHOTOGRAPHS = ("friendly", "compat", "crop_rotate")
OF_FILMED_DRIVERS = ("driving_scale", "driving_vx", "driving_vy")
OF_FRAMED_PORTRAITS = ("crop_scale", "crop_vx", "crop_vy", "crop_rotate")
OF_PEOPLE = ("region", "friendly")


def check_space(options: VideoOptions, asked: Asked, keypoints: bool, is_video: bool = False) -> None:
    """Raises: ValueError of what a checkpoint's face space, of keypoints or volumetric, cannot honour.
    is_video: what the image is.
    """
    if keypoints:
        names = {*given(options, UNSAID), *(name for name in UNSAID if asked.varies(name))}
        unfit = [name for name in UNSAID if name in names]
        if unfit:
            raise ValueError(
                f"{_and(unfit)} {_is(unfit)} given, but this checkpoint's face space is of keypoints, which "
                f"have no labelled gaze, mood, lids or regions; leave {_it(unfit)} out (keypoints.region "
                "takes a part of a driver), or take a checkpoint of the volumetric space, such as "
                "checkpoints/demo."
            )
        if not is_video:
            _refuse_rules(options, OF_SOURCE_VIDEOS, "for sources that are videos, and the image is none")
        if options.driving is None or options.driving.suffix in (".pkl", ".safetensors"):
            _refuse_rules(options, OF_FILMED_DRIVERS, "but no video or picture of a face drives")
        other = next((name for name in ("driving", "motion") if getattr(options, name) is not None), None)
        if other:
            _refuse_rules(options, ("compat",), f"for motion made of sound, but {other} is given, too")
        return
    if options.driving is not None and options.driving.suffix == ".pkl":
        raise ValueError(
            f"driving={options.driving} is a motion template, of keypoints, which this checkpoint's face "
            "space is not of; give a video, or a checkpoint that scripts/weights.py bundled."
        )
    if options.save_template:
        raise ValueError(
            "save_template writes motion of keypoints, which this checkpoint's face space is not of; use "
            "save_motion, or a checkpoint that scripts/weights.py bundled."
        )
    _refuse_rules(
        options,
        tuple(field.name for field in fields(options.keypoints)),
        "but this checkpoint's face space is not of keypoints",
        ", or take a checkpoint that scripts/weights.py bundled",
    )


def check_animal(options: VideoOptions) -> None:
    """Raises: ValueError of what weights of animals cannot heed."""
    why = "but this checkpoint's weights are of animals, which"
    _refuse_rules(
        options, OF_PEOPLE, f"{why} follow the whole motion, scaled to their face, by published rules"
    )
    _refuse_rules(options, OF_FRAMED_PORTRAITS, f"{why} nothing here finds; name the square by face_box")
    if options.pose != VideoOptions().pose:
        raise ValueError(
            f"pose={options.pose} is given, {why} move from the driver's first frame on; leave it out."
        )


def _refuse_rules(options: VideoOptions, names: tuple[str, ...], why: str, cure: str = "") -> None:
    blank = VideoOptions().keypoints
    rules = [
        f"keypoints.{name}" for name in names if getattr(options.keypoints, name) != getattr(blank, name)
    ]
    if rules:
        raise ValueError(f"{_and(rules)} {_is(rules)} given, {why}; leave {_it(rules)} out{cure}.")


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _it(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"
