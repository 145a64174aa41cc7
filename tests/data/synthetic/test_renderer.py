"""Pictures against their truth: projection, regions, occlusion, flow; same input, same picture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from vasa.data.synthetic import raster
from vasa.data.synthetic.animation import emotion_controls, random_animation
from vasa.data.synthetic.heads import Identities, make_identities
from vasa.data.synthetic.parameters import HAIR_STYLES, PARAMETER_INDEX, SHAPE_PARAMETERS
from vasa.data.synthetic.renderer import BACKGROUND, HEAD, TORSO, flow, render
from vasa.geometry import pixel_grid, project
from vasa.records import CONTROL_INDEX, EMOTIONS, Animation

SIZE = 96


def plain_person(seed: int = 3, hair_style: str = "bald") -> Identities:
    """A person without glasses and beard, whose eyes and mouth nothing covers."""
    person = make_identities([seed])
    values = person.values.clone()
    for name, value in (
        ("glasses", 0.0),
        ("beard_style", 0.0),
        ("hair_style", HAIR_STYLES.index(hair_style)),
    ):
        values[:, PARAMETER_INDEX[name]] = value
    values[:, PARAMETER_INDEX["skin_tone"]] = 0.1
    values[:, PARAMETER_INDEX["make_up"]] = -1.0
    return Identities(values, person.seeds, person.mode)


def with_controls(**settings: float) -> Animation:
    animation = Animation.neutral(1)
    for name, value in settings.items():
        animation.controls[0, CONTROL_INDEX[name]] = value
    return animation


def with_pose(**settings: float) -> Animation:
    animation = Animation.neutral(1)
    names = ("yaw", "pitch", "roll", "translation_x", "translation_y", "log_scale")
    for name, value in settings.items():
        animation.pose[0, names.index(name)] = value
    return animation


def crop(image: Tensor, box: Tensor) -> Tensor:
    """The part (3, h, w) of an image (3, S, S) inside a box (u0, v0, u1, v1)."""
    size = image.shape[-1]
    u0, v0, u1, v1 = ((box + 1) * size / 2).round().int().clamp(0, size).tolist()
    return image[:, v0:v1, u0:u1]


def dark_centre(image: Tensor) -> tuple[float, float]:
    """Centre of the dark pixels of a crop (3, h, w): share of its width, share of its height (down)."""
    dark = (0.45 - image.mean(0)).clamp(min=0)
    y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in dark.shape), indexing="ij")
    return float((dark * x).sum() / dark.sum()), float((dark * y).sum() / dark.sum())


def test_a_triangle_covers_exactly_the_pixel_centres_inside_and_the_nearer_one_wins() -> None:
    x = torch.tensor([[1.0, 1.0, 6.0, 0.0, 0.0, 8.0]])
    y = torch.tensor([[1.0, 6.0, 1.0, 0.0, 8.0, 0.0]])
    depth = torch.tensor([[2.0, 2.0, 2.0, 3.0, 3.0, 3.0]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    no = torch.zeros(2, dtype=torch.bool)
    solid, inside, outside = raster.rasterise(x, y, depth, faces, no, no, 8)
    rows, columns = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    near, far = (rows >= 1) & (columns >= 1) & (rows + columns <= 7), rows + columns <= 8
    face = torch.full((64,), -1)
    face[solid.pixel] = solid.face
    expected = torch.where(near, 0, torch.where(far, 1, -1)).flatten()
    assert torch.equal(face, expected)
    assert len(inside.pixel) == len(outside.pixel) == 0
    hit = solid.weights[solid.face == 0] @ torch.stack([x[0, :3], y[0, :3]], -1)
    where = torch.stack([solid.pixel % 8 + 0.5, solid.pixel // 8 + 0.5], -1)[solid.face == 0]
    assert torch.allclose(hit, where, atol=1e-4)  # at equal depth, perspective weights are the plain ones


def test_back_faces_are_culled_unless_two_sided() -> None:
    x, y = torch.tensor([[1.0, 6.0, 1.0]]), torch.tensor([[1.0, 1.0, 6.0]])
    depth, faces, no = torch.full((1, 3), 2.0), torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.bool)
    assert len(raster.rasterise(x, y, depth, faces, no, no, 8)[0].pixel) == 0
    assert len(raster.rasterise(x, y, depth, faces, ~no, no, 8)[0].pixel) > 0
    assert len(raster.rasterise(x, y, depth, faces, ~no, ~no, 8)[1].pixel) > 0


def test_landmarks_are_the_projected_3d_landmarks() -> None:
    people, frames = make_identities(range(3)), random_animation(range(3))
    drawn = render(people, frames, 64, "draft")
    assert torch.allclose(drawn.landmarks, project(drawn.landmarks_3d, frames.pose), atol=1e-5)
    inner_lips = drawn.landmarks[:, 60:68]
    box = drawn.mouth_box[:, None]
    assert ((inner_lips >= box[..., :2]) & (inner_lips <= box[..., 2:])).all()


def test_a_bare_mean_head_fills_70_percent_of_the_frame() -> None:
    person = plain_person()
    person.values[:, : len(SHAPE_PARAMETERS)] = 0.0
    rows = torch.nonzero((render(person, Animation.neutral(1), SIZE, "draft").mask[0] == HEAD).any(1))[:, 0]
    assert (rows.max() - rows.min() + 1).item() / SIZE == pytest.approx(
        0.72, abs=0.035
    )  # the chin is nearer than the centre


def test_pose_moves_the_face_by_the_stated_signs() -> None:
    person = plain_person()
    nose = 30

    def at(**settings: float) -> Tensor:
        return render(person, with_pose(**settings), 64, "draft").landmarks[0]

    rest = at()
    assert at(yaw=0.3)[nose, 0] > rest[nose, 0] + 0.05  # to the viewer's right
    assert at(pitch=0.3)[nose, 1] < rest[nose, 1] - 0.05  # up, and v points down
    assert at(roll=0.3)[8, 0] > rest[8, 0] + 0.1  # counter-clockwise: the chin swings to the right
    assert torch.allclose(at(translation_x=0.2).mean(0) - rest.mean(0), torch.tensor([0.2, 0.0]), atol=0.03)
    assert at(translation_y=0.2).mean(0)[1] < rest.mean(0)[1] - 0.15
    assert (at(log_scale=0.2)[8] - at(log_scale=0.2)[27]).norm() > 1.15 * (rest[8] - rest[27]).norm()


def test_the_iris_moves_with_the_gaze_and_hides_when_blinking() -> None:
    person = plain_person()

    def eyes(**settings: float) -> list[Tensor]:
        drawn = render(person, with_controls(**settings), 128)
        rest = render(person, Animation.neutral(1), 128)
        return [crop(drawn.image[0], rest.eye_boxes[0, i]) for i in (0, 1)]

    for i in (0, 1):
        right, left = (dark_centre(eyes(gaze_yaw=g)[i])[0] for g in (0.4, -0.4))
        assert right > left + 0.2
        up, down = (dark_centre(eyes(gaze_pitch=g)[i])[1] for g in (0.3, -0.3))
        assert up < down - 0.08
    wide, closed = eyes(), eyes(blink_left=1.0)
    assert wide[0].mean(0).max() - wide[0].mean(0).min() > 0.4  # white and pupil
    dark = [(picture.mean(0) < 0.3).float().mean() for picture in (wide[0], closed[0], closed[1])]
    assert dark[1] < 0.6 * dark[0]
    assert dark[2] == pytest.approx(dark[0].item(), abs=0.1)  # the other eye stays open


def test_the_jaw_opens_a_dark_mouth_with_teeth() -> None:
    person = plain_person()
    closed, opened = (render(person, with_controls(jaw=j), 128) for j in (0.0, 0.7))
    height = [(r.mouth_box[0, 3] - r.mouth_box[0, 1]).item() for r in (closed, opened)]
    assert height[1] > height[0] + 0.12
    shut, mouth = (crop(r.image[0], opened.mouth_box[0]) for r in (closed, opened))
    assert (mouth.mean(0) < 0.2).float().mean() > 0.1
    assert (shut.mean(0) < 0.2).float().mean() < 0.02
    white = (mouth.amin(0) > 0.45) & (mouth.amax(0) - mouth.amin(0) < 0.22)
    assert white.float().mean() > 0.01


REGIONS = {  # rows, in head units, that a control may change on a frontal head
    "gaze_yaw": (-0.25, 0.25),
    "gaze_pitch": (-0.25, 0.30),
    "blink_left": (-0.25, 0.30),
    "blink_right": (-0.25, 0.30),
    "brow_raise": (0.0, 0.65),
    "frown": (0.0, 0.55),
    "jaw": (-1.5, -0.20),
    "lip_width": (-1.05, -0.10),
    "lip_pucker": (-1.05, -0.10),
    "lip_press": (-1.05, -0.30),
    "smile": (-1.05, 0.0),
}


def test_every_control_changes_pixels_and_only_in_its_own_region() -> None:
    person = plain_person()
    settings = [{name: 0.35 if name.startswith("gaze") else 1.0} for name in REGIONS]
    frames = Animation.neutral(len(settings))
    for row, setting in enumerate(settings):
        for name, value in setting.items():
            frames.controls[row, CONTROL_INDEX[name]] = value
    rest = render(person, Animation.neutral(1), SIZE, "draft").image
    moved = render(person[[0] * len(settings)], frames, SIZE, "draft").image
    change = (moved - rest).abs().amax(1)  # (B, S, S)
    y = -pixel_grid(SIZE, SIZE)[..., 1] / 0.70 * 0.92  # about where the face's surface lies
    for row, (name, (low, high)) in enumerate(REGIONS.items()):
        outside = (y < low) | (y > high)
        assert change[row].max() > 0.15, name
        assert change[row][outside].max() < 0.02, name
    left = change[list(REGIONS).index("blink_left")]
    assert left[:, SIZE // 2 :].max() < 0.02


def test_at_least_six_emotions_look_different_from_each_other() -> None:
    person = plain_person()
    frames = Animation.neutral(len(EMOTIONS))
    frames.controls += emotion_controls(torch.eye(len(EMOTIONS)))
    images = render(person[[0] * len(EMOTIONS)], frames, SIZE, "draft").image.flatten(1)
    distance = torch.cdist(images, images, p=1) / images.shape[1] + torch.eye(len(EMOTIONS))
    assert (distance.amin(1) > 0.002).sum() >= 6


def test_masks_name_head_torso_and_background() -> None:
    drawn = render(plain_person(3, "long_straight"), Animation.neutral(1), SIZE, "draft")
    mask = drawn.mask[0]
    assert set(mask.unique().tolist()) == {BACKGROUND, TORSO, HEAD}
    assert mask[SIZE // 2, SIZE // 2] == HEAD
    assert mask[0, 0] == BACKGROUND
    assert mask[-1, SIZE // 2] == TORSO


def test_flow_to_the_same_frame_is_the_identity() -> None:
    people, frames = make_identities([4, 5]), random_animation([4, 5])
    drawn = render(people, frames, 64)
    where, visible = flow(drawn, people, frames, drawn)
    assert torch.allclose(where, pixel_grid(64, 64).expand(2, -1, -1, -1), atol=2e-4)
    assert visible.float().mean() > 0.99


def test_flow_carries_the_source_onto_the_target() -> None:
    """26 dB: light and bilinear reading of fine texture differ between frames; the turn is small."""
    person = plain_person(hair_style="quiff")
    target_frame, source_frame = (
        with_pose(yaw=0.12, roll=0.1, translation_x=0.1),
        with_controls(jaw=0.5, smile=0.5),
    )
    target, source = render(person, target_frame, 128), render(person, source_frame, 128)
    where, visible = flow(target, person, source_frame, source)

    def psnr(image: Tensor, where_seen: Tensor) -> float:
        error = ((image - target.image) ** 2).mean(1)[where_seen]
        return float(-10 * error.mean().log10())

    face = visible & (target.mask == HEAD)
    carried = F.grid_sample(source.image, where, align_corners=False)
    assert face.float().mean() > 0.2
    assert psnr(carried, face) > 26
    assert psnr(carried, face) > psnr(source.image, face) + 6
    again, seen = flow(target, person, source_frame)
    assert torch.allclose(again, where)
    assert (seen == visible).float().mean() > 0.97


def test_flow_finds_every_visible_landmark_and_leaves_the_background_still() -> None:
    person, frame = plain_person(), with_pose(yaw=0.25, pitch=0.1)
    target, source = render(person, Animation.neutral(1), 128), render(person, frame, 128)
    where, visible = flow(target, person, frame, source)
    inner = [27, 28, 29, 30, 33, 31, 35, 51, 57, 19, 24]
    found = F.grid_sample(where.permute(0, 3, 1, 2), target.landmarks[:, None, inner], align_corners=False)
    found = found[0, :, 0].T
    assert (found - source.landmarks[0, inner]).norm(dim=-1).max() < 0.03  # two pixels; the nose tip is steep
    still = (target.mask == BACKGROUND)[..., None]
    grid = pixel_grid(128, 128)[None]
    assert torch.equal(torch.where(still, where, grid), grid)
    assert not visible[0][(source.mask[0] == HEAD) & (target.mask[0] == BACKGROUND)].any()


def test_what_turns_away_is_not_visible() -> None:
    person = plain_person()
    source_frame = with_pose(yaw=0.6)
    target = render(person, with_pose(yaw=-0.6), SIZE)
    _, visible = flow(target, person, source_frame)
    face = target.mask[0] == HEAD
    columns = torch.arange(SIZE).expand(SIZE, SIZE)
    middle = columns[face].float().mean()
    far_side = face & (columns > middle + 8)  # its left faces us now and the other way in the source
    near_side = face & (columns < middle - 8)
    assert visible[0][far_side].float().mean() < 0.35
    assert visible[0][near_side].float().mean() > visible[0][far_side].float().mean()


def test_same_input_same_picture_and_a_batch_of_two_equals_two_batches_of_one() -> None:
    people, frames = make_identities([11, 12]), random_animation([11, 12])
    both = render(people, frames, 64)
    assert torch.equal(both.image, render(make_identities([11, 12]), frames, 64).image)
    for i in (0, 1):
        one = render(people[i], frames[i : i + 1], 64)
        assert torch.allclose(
            one.image[0], both.image[i], atol=1e-5
        )  # products of other batch shapes round differently
        assert torch.equal(one.mask[0], both.mask[i])


def test_identities_look_different_and_frames_of_one_agree() -> None:
    people = make_identities(range(20, 26))
    images = render(people, Animation.neutral(6), 64, "draft").image.flatten(1)
    distance = torch.cdist(images, images) / images.shape[1] ** 0.5 + torch.eye(6)
    assert distance.min() > 0.08


def test_randomised_pictures_keep_the_truth() -> None:
    """The same parameters in both modes: other pixels, equal landmarks and masks."""
    people = make_identities(range(30, 33), "randomised")
    frames = random_animation(range(3), (0.7, 1.4))
    drawn = render(people, frames, 64, "draft")
    plain = render(Identities(people.values, people.seeds, "portrait"), frames, 64, "draft")
    assert torch.equal(drawn.landmarks, plain.landmarks)
    solid = (drawn.mask == plain.mask).float().mean()
    assert solid > 0.97  # strands are drawn from the same noise; where they are combed alike they cover alike
    assert (drawn.image - plain.image).abs().mean() > 0.05
    assert drawn.image.min() >= 0
    assert drawn.image.max() <= 1


def test_draft_and_full_show_the_same_head() -> None:
    people, frames = make_identities([1, 2]), random_animation([1, 2])
    full, draft = render(people, frames, SIZE), render(people, frames, SIZE, "draft")
    assert torch.equal(full.landmarks, draft.landmarks)
    assert (full.mask == draft.mask).float().mean() > 0.98
    assert (full.image - draft.image).abs().mean() < 0.03


def test_large_pictures_agree_with_small_ones() -> None:
    person, frame = make_identities([6]), random_animation([6])
    small, large = render(person, frame, 128), render(person, frame, 512, "draft")
    reduced = F.avg_pool2d(large.image, 4)
    assert (reduced - small.image).abs().mean() < 0.03


@pytest.mark.parametrize(
    ("size", "quality", "message"),
    [
        (65, "full", "size is 65; wanted an even number"),
        (64, "best", "quality is 'best'; wanted one of full, draft"),
    ],
)
def test_wrong_sizes_and_qualities_are_refused(size: int, quality: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render(make_identities([0]), Animation.neutral(1), size, quality)
    with pytest.raises(ValueError, match="animation has 2 frames for 1 identities"):
        render(make_identities([0]), Animation.neutral(2), 64)


@pytest.mark.gpu
def test_the_gpu_draws_the_same_picture() -> None:
    people, frames = make_identities([1, 2]), random_animation([1, 2])
    here = render(people, frames, 64)
    there = render(people.to("cuda"), frames.to("cuda"), 64)
    assert (there.image.cpu() - here.image).abs().mean() < 2e-3
    assert (there.mask.cpu() == here.mask).float().mean() > 0.995
