"""Who the procedural heads are: parameters, neutral geometry, random frames and expression blends."""

from __future__ import annotations

import pytest
import torch

from vasa.data.synthetic import mesh
from vasa.data.synthetic.animation import (
    EMOTION_TABLE,
    PITCH_LIMIT,
    ROLL_LIMIT,
    YAW_LIMIT,
    emotion_controls,
    random_animation,
)
from vasa.data.synthetic.expression import pose_vertices
from vasa.data.synthetic.heads import Identities, make_identities, neutral_landmarks
from vasa.data.synthetic.landmarks import landmarks_3d
from vasa.data.synthetic.parameters import (
    BEARD_STYLES,
    HAIR_STYLES,
    PARAMETER_INDEX,
    PARAMETERS,
    SHAPE_PARAMETERS,
)
from vasa.data.synthetic.shading import lights
from vasa.records import CONTROL_HIGH, CONTROL_INDEX, CONTROL_LOW, CONTROL_NAMES, EMOTIONS, NUM_CONTROLS


def mean_head(hair_style: str = "bald") -> Identities:
    """The head whose shape parameters are all zero."""
    head = make_identities([0])
    values = head.values.clone()
    values[:, : len(SHAPE_PARAMETERS)] = 0.0
    values[:, PARAMETER_INDEX["hair_style"]] = HAIR_STYLES.index(hair_style)
    values[:, PARAMETER_INDEX["beard_style"]] = BEARD_STYLES.index("none")
    values[:, PARAMETER_INDEX["glasses"]] = 0.0
    return Identities(values, head.seeds, "portrait")


def test_identities_have_at_least_35_parameters_with_range_and_meaning() -> None:
    assert len(PARAMETERS) >= 35
    assert len({p.name for p in PARAMETERS}) == len(PARAMETERS)
    for parameter in PARAMETERS:
        assert parameter.low < parameter.high
        assert len(parameter.meaning) > 8
    assert len(HAIR_STYLES) >= 6


def test_a_seed_is_one_person_and_other_seeds_are_others() -> None:
    once, again = make_identities([7, 8]), make_identities([8, 7])
    assert torch.equal(once.values[0], again.values[1])
    assert torch.equal(once.values[1], again.values[0])
    people = make_identities(range(200)).values
    different = (people[:, None] - people[None]).abs().sum(-1) + torch.eye(200)
    assert different.min() > 0.5


def test_seeds_reach_every_hair_and_beard_style_and_spread_over_the_ranges() -> None:
    people = make_identities(range(600))
    assert set(people.parameter("hair_style").int().tolist()) == set(range(len(HAIR_STYLES)))
    assert set(people.parameter("beard_style").int().tolist()) == set(range(len(BEARD_STYLES)))
    assert 0.1 < people.parameter("glasses").mean() < 0.4
    tone = people.parameter("skin_tone")
    assert tone.min() < 0.05
    assert tone.max() > 0.95


def test_randomised_shapes_vary_more_than_portraits() -> None:
    columns = [PARAMETER_INDEX[name] for name in ("head_width", "eye_size", "mouth_width", "nose_length")]
    portrait = make_identities(range(300)).values[:, columns].std(0)
    randomised = make_identities(range(300), "randomised").values[:, columns].std(0)
    assert (randomised > 1.3 * portrait).all()


def test_indexing_gives_the_same_people() -> None:
    people = make_identities(range(5))
    assert len(people[1:3]) == 2
    assert len(people[4]) == 1
    assert torch.equal(people[[0] * 3].values, people.values[:1].expand(3, -1))
    assert people[torch.tensor([3, 1])].seeds.tolist() == [3, 1]
    assert torch.equal(people[1:3].geometry().skin, people.geometry().skin[1:3])


def test_unknown_mode_and_no_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="mode is 'cartoon'; wanted one of portrait, randomised"):
        make_identities([0], "cartoon")
    with pytest.raises(ValueError, match="seeds is empty"):
        make_identities([])


def test_the_mean_head_is_two_units_high_from_chin_to_crown() -> None:
    skin = mean_head().geometry().skin[0]
    template = mesh.template("cpu")
    head = skin[template.s < 11.5]
    assert head[..., 1].max() == pytest.approx(1.0, abs=0.02)
    assert head[..., 1].min() == pytest.approx(-1.0, abs=0.05)
    assert head[..., 0].abs().max() == pytest.approx(0.69, abs=0.03)


def test_neutral_landmarks_follow_the_ibug_order_and_are_symmetric() -> None:
    points = neutral_landmarks(mean_head())[0]
    assert points.shape == (68, 3)
    mirror = [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        45,
        44,
        43,
        42,
        47,
        46,
    ]
    mirror += [
        39,
        38,
        37,
        36,
        41,
        40,
        54,
        53,
        52,
        51,
        50,
        49,
        48,
        59,
        58,
        57,
        56,
        55,
        64,
        63,
        62,
        61,
        60,
        67,
        66,
        65,
    ]
    flipped = points[mirror] * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.allclose(points, flipped, atol=2e-3)
    assert points[36, 0] < points[39, 0] < 0 < points[42, 0] < points[45, 0]  # the viewer's left eye first
    assert points[27:31, 1].diff().max() < 0  # down the nose
    assert points[8, 1] == points[:, 1].min()  # the chin is lowest
    assert points[37, 1] > points[41, 1]  # eyes are open when neutral
    assert (points[61:64, 1] - points[[67, 66, 65], 1]).abs().max() < 2e-3  # the mouth is closed


def test_people_have_their_landmarks_in_different_places() -> None:
    points = neutral_landmarks(make_identities(range(12)))
    assert points.std(0).mean() > 0.01


def test_controls_move_their_own_landmarks_by_the_stated_signs() -> None:
    head = mean_head()
    neutral = neutral_landmarks(head)[0]
    moved = {}
    for name in CONTROL_NAMES:
        controls = torch.zeros(1, NUM_CONTROLS)
        controls[0, CONTROL_INDEX[name]] = 0.3 if name.startswith("gaze") else 1.0
        moved[name] = landmarks_3d(pose_vertices(head.geometry(), controls))[0] - neutral
    gap = neutral[37:39, 1].mean() - neutral[40:42, 1].mean()
    closed = moved["blink_left"][37:39, 1].mean() - moved["blink_left"][40:42, 1].mean()
    assert closed == pytest.approx(-gap.item(), abs=1e-3)  # the lids meet
    assert moved["blink_left"][42:].abs().max() < 1e-6
    assert moved["blink_right"][36:42].abs().max() < 1e-6
    assert moved["brow_raise"][17:27, 1].min() > 0.02
    assert moved["frown"][21, 0] > 0 > moved["frown"][22, 0]  # inner ends draw together
    assert moved["jaw"][66, 1] < -0.25
    assert moved["jaw"][62].norm() < 0.02  # the upper lip stays
    assert moved["lip_width"][54, 0] > 0.06
    assert moved["lip_width"][48, 0] < -0.06
    assert moved["lip_pucker"][[51, 57], 2].min() > 0.04
    assert moved["lip_pucker"][54, 0] < -0.05
    assert moved["smile"][[48, 54], 1].min() > 0.05
    lips = neutral[51, 1] - neutral[57, 1]
    assert (lips + moved["lip_press"][51, 1] - moved["lip_press"][57, 1]) < 0.55 * lips
    mouth = ("jaw", "lip_width", "lip_pucker", "lip_press", "smile")
    assert max(moved[name][17:27].abs().max() for name in mouth) < 5e-3
    assert max(moved[name][36:48].abs().max() for name in mouth) < 5e-3


def test_random_animation_is_within_its_ranges_and_a_function_of_the_seed() -> None:
    frames = random_animation(range(500))
    assert torch.equal(frames[3:5].pose, random_animation([3, 4]).pose)
    degrees = frames.pose[:, :3].rad2deg().abs().max(0).values
    assert (degrees <= torch.tensor([YAW_LIMIT, PITCH_LIMIT, ROLL_LIMIT]) + 1e-3).all()
    assert frames.pose[:, 0].rad2deg().std() == pytest.approx(13.5, abs=2.0)
    scale = frames.pose[:, 5].exp()
    assert scale.min() >= 0.799
    assert scale.max() <= 1.251
    assert (frames.controls >= torch.tensor(CONTROL_LOW) - 1e-6).all()
    assert (frames.controls <= torch.tensor(CONTROL_HIGH) + 1e-6).all()
    jaw = frames.controls[:, CONTROL_INDEX["jaw"]]
    assert 0.2 < (jaw == 0).float().mean() < 0.4
    blinks = (frames.controls[:, 2:4].amax(-1) > 0.25).float().mean()
    assert 0.15 < blinks < 0.35
    wide = random_animation(range(200), (0.6, 1.6)).pose[:, 5].exp()
    assert wide.min() < 0.7
    assert wide.max() > 1.4


def test_random_controls_are_independent_of_each_other_and_of_pose() -> None:
    frames = random_animation(range(1500))
    both_eyes = [
        0,
        1,
        3,
        4,
        5,
        6,
        7,
        8,
        10,
    ]  # blinks of both eyes go together, and pressed lips go with a closed jaw
    signals = torch.cat([frames.pose, frames.controls[:, both_eyes]], -1)
    correlation = torch.corrcoef(signals.T) - torch.eye(signals.shape[1])
    assert correlation.abs().max() < 0.12  # 1500 draws: chance stays below 0.1


def test_emotion_controls_are_linear_in_the_weights_and_named_in_the_fixed_order() -> None:
    assert tuple(EMOTION_TABLE) == EMOTIONS
    each = emotion_controls(torch.eye(len(EMOTIONS)))
    assert each.shape == (len(EMOTIONS), NUM_CONTROLS)
    assert each[0].abs().max() == 0
    assert each[EMOTIONS.index("happy"), CONTROL_INDEX["smile"]] > 0.5
    assert each[EMOTIONS.index("anger"), CONTROL_INDEX["frown"]] > 0.5
    weights = torch.rand(3, 8)
    assert torch.allclose(emotion_controls(weights), weights @ each)
    distance = torch.cdist(each, each) + 10 * torch.eye(len(EMOTIONS))
    assert distance.min() > 0.4


def test_every_parameter_changes_geometry_texture_or_light() -> None:
    """No parameter is there for show: each changes the head, its paint or its light."""
    person = make_identities([5])
    values = person.values.clone()
    for name, value in (("hair_style", HAIR_STYLES.index("parted")), ("beard_style", 2.0), ("glasses", 1.0)):
        values[:, PARAMETER_INDEX[name]] = value
    values[:, PARAMETER_INDEX["skin_tone"]] = 0.2

    def appearance(values: torch.Tensor) -> list[torch.Tensor]:
        head = Identities(values, person.seeds, "portrait")
        geometry = head.geometry()
        light = lights(head)
        parts = [getattr(geometry, name) for name in geometry.__slots__]
        return [*parts, *head.textures(160)[:2], light.direction, light.colour, light.harmonics]

    usual = appearance(values)
    for parameter in PARAMETERS:
        changed = values.clone()
        column = PARAMETER_INDEX[parameter.name]
        changed[:, column] = parameter.low if values[0, column] >= parameter.high else parameter.high
        same = [torch.equal(a, b) for a, b in zip(appearance(changed), usual, strict=True)]
        assert not all(same), parameter.name
