"""Whole systems whose weights are published in parts: LivePortrait (people, animals) and JoyVASA over it.

What each part is, where it is published, under which licence, and where it lies here once fetched. Facts of
October 2025; hashes only where somebody who has the file says so.
"""

from __future__ import annotations

from vasa.pretrained.registry import FrozenNetwork

SYSTEMS = ("joyvasa", "liveportrait")
LIVEPORTRAIT_HUB = "huggingface.co/KwaiVGI/LivePortrait"
JOYVASA_HUB = "huggingface.co/jdh-algo/JoyVASA"
MIT = "MIT (hub page); its detectors by InsightFace, for non-commercial use, are not needed here"
FACE_FILES = (
    "appearance_feature_extractor.pth",
    "motion_extractor.pth",
    "warping_module.pth",
    "spade_generator.pth",
)
FOLDERS = {"human": "liveportrait", "animal": "liveportrait_animals"}
OPTIONAL: dict[str, tuple[str, ...]] = {"human": ("landmarks_203", "landmarks_106", "fan_3d"), "animal": ()}
"""Networks of registry.py that frame people's faces better than five points and tell openings of eyes and
lips."""
ANIMAL_VERSION = "base_models_v1.1"
JOYVASA_SHA256 = "9dd869329725caedf5f0c13dd383abec1e385f566d8afe2047b141f604844e80"


def _part(name: str, file: str, hub: str, needed_by: str, role: str, sha256: str = "") -> FrozenNetwork:
    return FrozenNetwork(
        name,
        file,
        hub,
        MIT,
        role,
        needed_by,
        commercial=True,
        place="published",
        url=f"https://{hub}/resolve/main/{file}",
        sha256=sha256,
        hash_source="users of the file, in JoyVASA's issues" if sha256 else "",
    )


def parts_of(system: str, species: str) -> dict[str, FrozenNetwork]:
    """The files of a system, by their part: those of face.keypoints.networks.PUBLISHED, and of JoyVASA motion
    and template. species: human or animal; stitching is the human one for both. Raises: ValueError.
    """
    if system not in SYSTEMS or species not in FOLDERS:
        raise ValueError(
            f"system is {system!r} and species {species!r}; wanted one of {', '.join(SYSTEMS)}, and one of "
            f"{', '.join(FOLDERS)}."
        )
    folder = f"{FOLDERS[species]}/{'base_models' if species == 'human' else ANIMAL_VERSION}"
    needed = f"infer.py with {system}'s checkpoint, {species}s"
    parts = {
        part: _part(f"{FOLDERS[species]}_{part}", f"{folder}/{file}", LIVEPORTRAIT_HUB, needed, "face space")
        for part, file in zip(("appearance", "motion", "warping", "generator"), FACE_FILES, strict=True)
    }
    stitching = "liveportrait/retargeting_models/stitching_retargeting_module.pth"
    parts["retargeting"] = _part(
        "liveportrait_retargeting", stitching, LIVEPORTRAIT_HUB, needed, "face space"
    )
    if system == "joyvasa":
        for part, file, sha256 in (
            ("speech_to_motion", "motion_generator/motion_generator_hubert_chinese.pt", JOYVASA_SHA256),
            ("template", "motion_template/motion_template.pkl", ""),
        ):
            parts[part] = _part(f"joyvasa_{part}", file, JOYVASA_HUB, needed, "motion model", sha256)
    return parts
