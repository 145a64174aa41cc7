"""The identity parameters of a procedural head: one table with ranges and meaning, and how a seed draws
them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

HAIR_STYLES = (
    "bald",
    "buzz",
    "parted",
    "swept",
    "afro",
    "long_straight",
    "long_wavy",
    "bun",
    "ponytail",
    "receding",
    "bob",
    "quiff",
    "curly_long",
)
BEARD_STYLES = ("none", "stubble", "moustache", "goatee", "full", "long")
MODES = ("portrait", "randomised")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One identity parameter: normal around ``mean`` with ``std``, kept within [low, high]; uniform where std
    is 0."""

    name: str
    mean: float
    std: float
    low: float
    high: float
    meaning: str


def _shape(name: str, meaning: str, std: float = 0.55) -> Parameter:
    return Parameter(name, 0.0, std, -1.0, 1.0, meaning)


SHAPE_PARAMETERS = (
    _shape("head_width", "whole head narrow (-) or wide (+), about 10 %"),
    _shape("crown_height", "crown low or high"),
    _shape("back_depth", "back of the head flat or deep"),
    _shape("forehead_width", "temples narrow or wide"),
    _shape("forehead_slope", "forehead upright or sloping back"),
    _shape("brow_ridge", "brow ridge flat or strong"),
    _shape("cheekbone", "cheek bones flat or strong"),
    _shape("cheek_fullness", "cheeks hollow or full"),
    _shape("jaw_width", "jaw narrow or wide"),
    _shape("jaw_square", "jaw line round or square"),
    _shape("chin_length", "chin short or long"),
    _shape("chin_width", "chin pointed or broad"),
    _shape("chin_forward", "chin receding or protruding"),
    Parameter("chin_cleft", 0.0, 0.0, 0.0, 1.0, "depth of the cleft; only its upper third shows"),
    _shape("neck_width", "neck thin or thick"),
    _shape("shoulder_width", "shoulders narrow or wide"),
    _shape("eye_spacing", "eyes close or far apart"),
    _shape("eye_size", "eyes small or large, about 14 %"),
    _shape("eye_tilt", "outer corners down or up"),
    _shape("eye_height", "eyes low or high in the face"),
    _shape("eye_open", "lids narrow or wide open when neutral"),
    _shape("eye_depth", "eyes flat or deep-set"),
    _shape("lid_fold", "upper lid covered or with a clear crease"),
    _shape("nose_length", "nose short or long"),
    _shape("nose_height", "nose flat or protruding"),
    _shape("nose_width", "nose narrow or wide"),
    _shape("nose_bridge", "bridge concave or humped"),
    _shape("nose_tip", "tip fine or bulbous"),
    _shape("nose_upturn", "tip down or up"),
    _shape("nostril_width", "wings narrow or wide"),
    _shape("mouth_width", "mouth narrow or wide, about 14 %"),
    _shape("mouth_height", "mouth low or high"),
    _shape("lip_upper", "upper lip thin or full"),
    _shape("lip_lower", "lower lip thin or full"),
    _shape("lip_bow", "upper lip's bow flat or marked"),
    _shape("mouth_corners", "corners down or up at rest"),
    _shape("muzzle", "mouth flat or forward"),
    _shape("ear_size", "ears small or large"),
    _shape("ear_out", "ears close or standing out"),
)
LOOK_PARAMETERS = (
    Parameter("skin_tone", 0.0, 0.0, 0.0, 1.0, "0 pale .. 1 dark"),
    Parameter("skin_hue", 0.0, 0.4, -1.0, 1.0, "pink (-) or olive (+)"),
    Parameter("skin_gloss", 0.35, 0.15, 0.1, 0.8, "strength of the highlight on skin"),
    Parameter("blush", 0.4, 0.2, 0.0, 1.0, "redness of cheeks and nose"),
    Parameter("freckles", 0.0, 0.0, -3.0, 1.0, "freckles; none below 0"),
    Parameter("age", 0.0, 0.0, 0.0, 1.0, "0 young .. 1 old: folds, wrinkles, grey hair"),
    Parameter("lip_red", 0.5, 0.2, 0.0, 1.0, "saturation of the lips"),
    Parameter("make_up", 0.0, 0.0, -2.0, 1.0, "lipstick and lid shadow; none below 0"),
    Parameter("iris_hue", 0.0, 0.0, 0.0, 1.0, "brown .. hazel .. green .. grey .. blue"),
    Parameter("iris_size", 0.0, 0.4, -1.0, 1.0, "iris small or large"),
    Parameter("brow_thickness", 0.0, 0.45, -1.0, 1.0, "brows thin or bushy"),
    Parameter("brow_arch", 0.0, 0.45, -1.0, 1.0, "brows flat or arched"),
    Parameter("brow_angle", 0.0, 0.4, -1.0, 1.0, "inner ends up or down"),
    Parameter("brow_darkness", 0.85, 0.12, 0.3, 1.0, "contrast of the brows"),
    Parameter("lash_darkness", 0.6, 0.2, 0.2, 1.0, "contrast of the lash line"),
    Parameter("hair_tone", 0.0, 0.0, 0.0, 1.0, "black .. brown .. red .. blond"),
    Parameter("hair_volume", 0.0, 0.45, -1.0, 1.0, "hair flat or voluminous"),
    Parameter("hair_curl", 0.0, 0.45, -1.0, 1.0, "strands straight or curly"),
    Parameter("hair_line", 0.0, 0.45, -1.0, 1.0, "hair line low or high"),
    Parameter("hair_part", 0.0, 0.0, -1.0, 1.0, "side of the parting"),
    Parameter("glasses_shape", 0.0, 0.0, 0.0, 1.0, "round .. rectangular"),
    Parameter("glasses_size", 0.0, 0.4, -1.0, 1.0, "small or large rims"),
    Parameter("glasses_tone", 0.0, 0.0, 0.0, 1.0, "colour of the frame"),
    Parameter("cloth_hue", 0.0, 0.0, 0.0, 1.0, "hue of the clothes"),
    Parameter("cloth_tone", 0.0, 0.0, 0.08, 0.75, "brightness of the clothes"),
    Parameter("collar", 0.0, 0.0, 0.0, 1.0, "neckline high or low"),
    Parameter("light_yaw", 0.0, 0.6, -1.3, 1.3, "direction of the key light, radians"),
    Parameter("light_pitch", 0.55, 0.3, -0.2, 1.1, "height of the key light, radians"),
    Parameter("light_key", 0.85, 0.2, 0.45, 1.3, "strength of the key light"),
    Parameter("light_fill", 0.5, 0.12, 0.28, 0.75, "strength of ambient light"),
    Parameter("light_warmth", 0.0, 0.4, -1.0, 1.0, "cold or warm key light"),
)
CATEGORIES = ("hair_style", "beard_style", "glasses")
PARAMETERS = SHAPE_PARAMETERS + LOOK_PARAMETERS
PARAMETER_INDEX = {name: i for i, name in enumerate([p.name for p in PARAMETERS] + list(CATEGORIES))}
RANDOMISED_SPREAD = 2.2
"""How much wider shapes vary in the randomised mode (kept within twice the portrait range)."""


def seed_generator(seed: int, stream: int) -> torch.Generator:
    """A CPU generator for one seed and purpose; integers are mixed by arithmetic, so it is the same in every
    process."""
    mixed = (int(seed) * 6364136223846793005 + (stream + 1) * 1442695040888963407) % (2**63 - 1)
    return torch.Generator().manual_seed(mixed)


def draw_parameters(seeds: Sequence[int], mode: str) -> Tensor:
    """Identity parameters (B, P) of each seed, in the order of PARAMETER_INDEX."""
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; wanted one of {', '.join(MODES)}.")
    return torch.stack([_draw(seed, mode) for seed in seeds])


def _draw(seed: int, mode: str) -> Tensor:
    generator = seed_generator(seed, 0)
    count = len(PARAMETERS)
    normal, uniform = torch.randn(count, generator=generator), torch.rand(count, generator=generator)
    mean, std, low, high = (
        torch.tensor([getattr(p, f) for p in PARAMETERS]) for f in ("mean", "std", "low", "high")
    )
    if mode == "randomised":
        shape = torch.arange(count) < len(SHAPE_PARAMETERS)
        std = torch.where(shape, std * RANDOMISED_SPREAD, std)
        low, high = torch.where(shape, low * 2.0, low), torch.where(shape, high * 2.0, high)
    values = torch.where(std > 0, (mean + std * normal).clamp(low, high), low + (high - low) * uniform)
    sex, pick = torch.rand((), generator=generator), torch.rand(3, generator=generator)
    values = _agree(values, float(sex))
    return torch.cat([values, torch.tensor(_categories(float(sex), pick.tolist()))])


def _agree(values: Tensor, sex: float) -> Tensor:
    """Couples a few parameters so that heads hang together: build by sex, make-up, brows."""
    values = values.clone()

    def add(name: str, amount: float) -> None:
        index = PARAMETER_INDEX[name]
        values[index] = values[index] + amount

    sign = 1.0 if sex < 0.5 else -1.0  # + heavier build
    for name, amount in (
        ("jaw_width", 0.3),
        ("jaw_square", 0.3),
        ("brow_ridge", 0.35),
        ("neck_width", 0.45),
        ("shoulder_width", 0.4),
        ("brow_thickness", 0.3),
        ("lip_upper", -0.25),
        ("lip_lower", -0.2),
        ("eye_size", -0.2),
        ("nose_width", 0.15),
        ("brow_arch", -0.3),
    ):
        add(name, sign * amount)
    if sign > 0:
        values[PARAMETER_INDEX["make_up"]] = -1.0
    else:
        add("lash_darkness", 0.25)
        add("make_up", 0.4)
        values[PARAMETER_INDEX["make_up"]].clamp_(max=1.0)
    return values


def _categories(sex: float, pick: list[float]) -> list[float]:
    """Hair style, beard style and glasses: likelier together as people wear them, yet any seed may differ."""
    short = (
        "bald",
        "buzz",
        "parted",
        "swept",
        "afro",
        "receding",
        "quiff",
        "parted",
        "swept",
        "long_wavy",
        "buzz",
        "quiff",
    )
    long = (
        "long_straight",
        "long_wavy",
        "bun",
        "ponytail",
        "bob",
        "curly_long",
        "long_straight",
        "long_wavy",
        "afro",
        "swept",
        "bob",
        "bun",
    )
    styles = short if sex < 0.5 else long
    hair = HAIR_STYLES.index(styles[int(pick[0] * len(styles))])
    beards = ("none", "none", "none", "stubble", "stubble", "moustache", "goatee", "full", "full", "long")
    beard = BEARD_STYLES.index(beards[int(pick[1] * len(beards))]) if sex < 0.5 else 0
    return [float(hair), float(beard), float(pick[2] < 0.22)]


def _mix(stops: list[tuple[float, float, float]], x: float) -> Tensor:
    """Piecewise linear colour through ``stops``, sRGB (3,)."""
    position = min(max(x, 0.0), 1.0) * (len(stops) - 1)
    index = min(int(position), len(stops) - 2)
    t = position - index
    return (1 - t) * torch.tensor(stops[index]) + t * torch.tensor(stops[index + 1])


SKIN_STOPS = [
    (0.96, 0.81, 0.72),
    (0.93, 0.75, 0.63),
    (0.86, 0.66, 0.52),
    (0.76, 0.55, 0.41),
    (0.60, 0.41, 0.29),
    (0.44, 0.29, 0.20),
    (0.33, 0.21, 0.15),
]
HAIR_STOPS = [
    (0.07, 0.06, 0.06),
    (0.14, 0.09, 0.07),
    (0.25, 0.15, 0.09),
    (0.36, 0.22, 0.13),
    (0.50, 0.24, 0.11),
    (0.60, 0.43, 0.25),
    (0.80, 0.65, 0.42),
]
IRIS_STOPS = [
    (0.22, 0.12, 0.07),
    (0.33, 0.19, 0.09),
    (0.45, 0.32, 0.14),
    (0.36, 0.43, 0.22),
    (0.42, 0.49, 0.47),
    (0.34, 0.50, 0.66),
    (0.25, 0.42, 0.68),
]


@dataclass(slots=True)
class Palette:
    """Colours (3,) sRGB of one head, derived from its parameters."""

    skin: Tensor
    hair: Tensor
    lips: Tensor
    iris: Tensor
    cloth: Tensor
    frame: Tensor


def palette(values: Tensor) -> Palette:
    """The colours that a parameter vector (P,) stands for."""

    def get(name: str) -> float:
        return float(values[PARAMETER_INDEX[name]])

    tone = get("skin_tone")
    skin = _mix(SKIN_STOPS, tone) + get("skin_hue") * torch.tensor([-0.012, 0.012, -0.02])
    hair_tone = get("hair_tone") * (1.0 if tone < 0.35 else 0.55 if tone < 0.55 else 0.28)
    grey = min(max((get("age") - 0.66) / 0.3, 0.0), 1.0)
    hair = _mix(HAIR_STOPS, hair_tone) * (1 - grey) + torch.tensor([0.66, 0.65, 0.63]) * grey
    iris_hue = get("iris_hue") if tone < 0.4 else get("iris_hue") * 0.3
    rose = torch.tensor([0.74, 0.40, 0.41]) * (1 - 0.45 * tone)
    redness = 0.25 + 0.35 * get("lip_red")
    lips = (1 - redness) * skin * torch.tensor([0.92, 0.78, 0.77]) + redness * rose
    make_up = max(get("make_up"), 0.0)
    lipstick = torch.tensor([0.62, 0.10 + 0.15 * get("lip_red"), 0.16 + 0.12 * get("blush")]) * (
        1 - 0.3 * tone
    )
    lips = lips * (1 - 0.6 * make_up) + lipstick * 0.6 * make_up
    saturation = 0.15 + 0.55 * (get("glasses_tone") * 7.13 % 1.0)
    cloth = torch.tensor(colorsys.hsv_to_rgb(get("cloth_hue"), saturation, get("cloth_tone")))
    frame = _mix(
        [(0.05, 0.05, 0.06), (0.22, 0.12, 0.07), (0.55, 0.50, 0.42), (0.10, 0.13, 0.25), (0.40, 0.08, 0.08)],
        get("glasses_tone"),
    )
    return Palette(skin.clamp(0, 1), hair, lips.clamp(0, 1), _mix(IRIS_STOPS, iris_hue), cloth, frame)
