"""Metrics of what judges see, on constructed tracks: each number does what its name says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vasa.metrics.blinks import count_blinks
from vasa.metrics.capp import HOP, CappMetric
from vasa.metrics.controls import ControlsMetric, beyond_judges, emotion_weights, summarise_controls
from vasa.metrics.identity import IdentityMetric, by_judge
from vasa.metrics.liveliness import (
    LivelinessMetric,
    SeedSpread,
    spread_over_seeds,
    tracks,
)
from vasa.metrics.pose_statistics import PoseMetric, delta_p
from vasa.metrics.protocol import EvalClip, Unscored
from vasa.metrics.seen import Seen
from vasa.pretrained.capp import WINDOW, CappNet
from vasa.pretrained.config import CappNetConfig
from vasa.pretrained.judges import Measurement
from vasa.records import CONTROL_INDEX, EMOTIONS, SAMPLES_PER_FRAME


def look(
    pose: Tensor | None = None, controls: Tensor | None = None, identity: Tensor | None = None, num: int = 100
) -> Measurement:
    num = next((len(given) for given in (pose, controls, identity) if given is not None), num)
    return Measurement(
        torch.zeros(num, 6) if pose is None else pose,
        torch.zeros(num, 68, 2),
        torch.zeros(num, 11) if controls is None else controls,
        torch.nn.functional.normalize(torch.ones(num, 4), dim=-1) if identity is None else identity,
    )


class Exact:
    """A judge that knows: what each array of frames shows is looked up by its first pixel."""

    def __init__(self, *shown: Measurement, felt: Tensor | None = None) -> None:
        self.shown, self.looks = shown, 0
        self.feels = torch.eye(8)[0] if felt is None else felt

    def measure(self, frames: Tensor) -> Measurement:
        self.looks += 1
        return self.shown[int(frames[0, 0, 0, 0])]

    def felt(self, seen: Measurement) -> Tensor:
        return self.feels


def frames(num: int, which: int = 0) -> np.ndarray:
    return np.full((num, 4, 4, 3), which, np.uint8)


def seen(*shown: Measurement, felt: Tensor | None = None) -> Seen:
    return Seen(Exact(*shown, felt=felt), lambda cut: cut, {"judges": "exact"})


def faceless(_frames: np.ndarray) -> np.ndarray:
    raise Unscored("no face")


def walk(num: int = 100, seed: int = 0) -> Tensor:
    return 0.01 * torch.randn(num, 6, generator=torch.Generator().manual_seed(seed)).cumsum(0)


# Seen


def test_a_clip_is_looked_at_once_by_all_metrics_and_again_only_for_other_frames() -> None:
    judges = Exact(look(walk()), look(walk(100, 1)))
    eyes = Seen(judges, lambda cut: cut, {})
    clip = EvalClip(name="a", frames=frames(100), reference=frames(100, 1))
    one, two = PoseMetric(eyes).measure(clip), LivelinessMetric(eyes).measure(clip)
    assert judges.looks == 2 and one["yaw_std"] > 0 and two["head_of_real"] > 0
    PoseMetric(eyes).measure(EvalClip(name="as it was, read again", frames=frames(100, 1)))
    assert judges.looks == 2
    PoseMetric(eyes).measure(EvalClip(name="shorter", frames=frames(90)))
    assert judges.looks == 3


def test_no_face_is_a_reason_every_time_it_is_asked_and_wrong_cuts_are_refused() -> None:
    eyes, clip = Seen(Exact(), faceless, {}), EvalClip(name="a", frames=frames(100), portrait=frames(1)[0])
    clip.asked = {"distance": 1.0}
    for metric in (PoseMetric(eyes), LivelinessMetric(eyes), ControlsMetric(eyes, eyes), PoseMetric(eyes)):
        with pytest.raises(Unscored, match="no face"):
            metric.measure(clip)
    with pytest.raises(Unscored, match="portrait: no face"):
        IdentityMetric(by_judge(eyes), "ours", {}).measure(clip)
    with pytest.raises(ValueError, match="wanted uint8"):
        Seen(Exact(look()), lambda cut: cut[:, :3], {})(frames(2))


# Pose


def test_a_frozen_head_has_no_delta_p_and_scaled_motion_scales_it() -> None:
    still = look(torch.tensor([[0.2, -0.1, 0.05, 0, 0, 0.1]]).expand(50, -1))
    found = PoseMetric(seen(still)).measure(EvalClip(name="a", frames=frames(50)))
    assert set(found) == {
        "delta_p",
        "delta_p_raw",
        "yaw_std",
        "pitch_std",
        "roll_std",
        "head_speed",
        "head_jitter",
    }
    assert all(abs(value) < 1e-4 for value in found.values())
    track = walk()
    for factor in (0.5, 2.0):
        assert delta_p(factor * track) == pytest.approx(factor * delta_p(track), rel=1e-5)
    moving, twice = (
        PoseMetric(seen(look(pose))).measure(EvalClip(name="a", frames=frames(100)))
        for pose in (track, 2 * track)
    )
    for name in ("delta_p", "yaw_std", "pitch_std", "roll_std", "head_jitter"):
        assert twice[name] == pytest.approx(2 * moving[name], rel=1e-4)
    assert twice["head_speed"] == pytest.approx(2 * moving["head_speed"], rel=0.02)  # turns do not add up


def test_a_steady_turn_has_the_delta_p_and_the_speed_it_says() -> None:
    pose = torch.zeros(51, 6)
    pose[:, 0] = torch.linspace(0, math.radians(30), 51)  # 0.6 degrees a frame, 15 a second
    found = PoseMetric(seen(look(pose))).measure(EvalClip(name="a", frames=frames(51)))
    assert found["delta_p"] == pytest.approx(0.2, rel=1e-4)  # one angle of three
    assert found["head_speed"] == pytest.approx(15, rel=1e-3)
    assert found["head_jitter"] == pytest.approx(0, abs=1e-4)
    with pytest.raises(Unscored, match="3 frames"):
        PoseMetric(seen(look(num=2))).measure(EvalClip(name="a", frames=frames(2)))


# CAPP


def _capp(pose: Tensor, batch: int = 64) -> CappMetric:
    torch.manual_seed(0)
    small = {"width": 8, "num_heads": 2, "feedforward": 8, "pose_layers": 1, "sound_layers": 1}
    return CappMetric(CappNet(CappNetConfig(**small)).eval(), lambda _frames: pose, {"capp": "hash"}, batch)


def _sound(num_frames: int) -> np.ndarray:
    noise = np.random.default_rng(0).uniform(-0.2, 0.2, num_frames * SAMPLES_PER_FRAME)
    return noise.astype(np.float32)


def test_capp_is_the_mean_over_its_windows_whatever_the_batch_and_cuts_to_the_shorter() -> None:
    pose = walk(200)
    clip = EvalClip(name="a", frames=frames(200), audio=_sound(200))
    values = [_capp(pose, batch).measure(clip)["capp"] for batch in (1, 8, 64)]
    assert max(values) - min(values) < 1e-5
    network = _capp(pose)._network
    heard = network.hear(clip.audio, 200)
    each = [float(network.score(heard[s : s + WINDOW], pose[s : s + WINDOW], 1)) for s in range(0, 126, HOP)]
    assert values[0] == pytest.approx(sum(each) / len(each), abs=1e-5)
    longer = EvalClip(name="a", frames=frames(230), audio=_sound(200))
    assert _capp(walk(230)).measure(longer)["capp"] == pytest.approx(
        _capp(walk(230)[:200]).measure(clip)["capp"]
    )


def test_capp_of_less_than_three_seconds_or_without_sound_is_unscored() -> None:
    for clip, reason in (
        (EvalClip(name="a", frames=frames(74), audio=_sound(200)), "shorter than 3 s"),
        (EvalClip(name="a", frames=frames(200), audio=_sound(74)), "shorter than 3 s"),
        (EvalClip(name="a", frames=frames(200)), "no sound"),
    ):
        with pytest.raises(Unscored, match=reason):
            _capp(walk(200)).measure(clip)


# Liveliness


def _blinking(num: int, starts: list[int], depth: float = 0.9, length: int = 6) -> Tensor:
    closure = torch.zeros(num)
    shape = depth * torch.sin(torch.linspace(0, math.pi, length + 2)[1:-1])
    for start in starts:
        closure[start : start + length] = shape[: num - start]
    return closure


def test_blinks_are_counted_and_noise_lowered_lids_and_closed_eyes_are_not() -> None:
    assert count_blinks(_blinking(250, [20, 80, 140, 200])) == 4
    assert count_blinks(_blinking(250, [20, 30])) == 2
    assert count_blinks(_blinking(100, [96])) == 1  # cut off by the end
    assert count_blinks(0.25 + 0.6 * _blinking(250, [50, 100])) == 2  # lids that hang a little
    noise = 0.1 * torch.randn(250, generator=torch.Generator().manual_seed(0))
    assert count_blinks(noise) == 0
    assert count_blinks(_blinking(250, [20, 80]) + noise) == 2
    asleep = torch.zeros(250)
    asleep[50:90] = 1
    assert count_blinks(asleep) == 0


def test_liveliness_is_zero_of_a_still_and_tells_regions_apart() -> None:
    audio = np.zeros(100 * SAMPLES_PER_FRAME, np.float32)
    audio[: 50 * SAMPLES_PER_FRAME] = 0.3 * np.random.default_rng(0).standard_normal(50 * SAMPLES_PER_FRAME)
    still = EvalClip(name="a", frames=frames(100), audio=audio)
    found = LivelinessMetric(seen(look())).measure(still)
    assert all(value == 0 for value in found.values()) and "mouth_in_silence" in found
    controls = torch.zeros(100, 11)
    controls[:, CONTROL_INDEX["jaw"]] = (torch.arange(100) % 8 < 4) * (torch.arange(100) < 50) * 0.5
    controls[:, CONTROL_INDEX["blink_left"]] = controls[:, CONTROL_INDEX["blink_right"]] = _blinking(
        100, [30, 70]
    )
    alive = LivelinessMetric(seen(look(controls=controls))).measure(still)
    assert alive["mouth_amplitude"] > 0.03 and alive["lids_amplitude"] > 0.1
    assert alive["brows_amplitude"] == alive["gaze_amplitude"] == alive["head_amplitude"] == 0
    assert alive["blinks_per_min"] == pytest.approx(30)
    assert alive["mouth_in_silence"] == 0 and alive["brow_activity"] == 0 < alive["lid_activity"]
    assert alive["jitter"] > 0
    babbling = controls.clone()
    babbling[:, CONTROL_INDEX["jaw"]] = (torch.arange(100) % 8 < 4) * 0.5
    assert LivelinessMetric(seen(look(controls=babbling))).measure(still)["mouth_in_silence"] > 0.1


def test_amplitudes_are_compared_with_the_true_video_and_units_are_degrees() -> None:
    pose, controls = torch.zeros(100, 6), torch.zeros(100, 11)
    pose[:, 0] = torch.linspace(-0.1, 0.1, 100)
    controls[:, 0] = pose[:, 0]
    metric = LivelinessMetric(seen(look(0.5 * pose, 0.5 * controls), look(pose, controls)))
    found = metric.measure(EvalClip(name="a", frames=frames(100), reference=frames(100, 1)))
    assert found["head_of_real"] == pytest.approx(0.5) == found["gaze_of_real"]
    assert found["gaze_amplitude"] == pytest.approx(0.25 * math.degrees(0.2 / 12**0.5), rel=0.02)
    assert found["mouth_of_real"] == 0
    shut = 0.5 * controls
    shut[40:46, 0] = 0.5  # read behind closed lids
    shut[40:46, CONTROL_INDEX["blink_left"]] = shut[40:46, CONTROL_INDEX["blink_right"]] = 1.0
    closed = LivelinessMetric(seen(look(0.5 * pose, shut))).measure(EvalClip(name="a", frames=frames(100)))
    assert closed["gaze_amplitude"] == pytest.approx(found["gaze_amplitude"], rel=0.06)
    with pytest.raises(Unscored, match="shorter than 1 s"):
        metric.measure(EvalClip(name="a", frames=frames(24)))


def test_seeds_that_make_one_video_have_no_spread() -> None:
    same = tracks(look(walk()))
    assert set(spread_over_seeds([same, same, same]).values()) == {0.0}
    offset = look(walk() + torch.tensor([0.1, 0.1, 0.1, 0, 0, 0]))
    metric = SeedSpread(seen(look(walk()), offset, look(walk(90))))
    sizes = ((100, 0), (100, 1), (90, 2))
    samples = [metric.features(EvalClip(name="a", frames=frames(*size))) for size in sizes]
    assert metric.spread(samples[:2])["head_spread"] == pytest.approx(math.degrees(0.1), rel=1e-4)
    assert metric.spread(samples[:2])["mouth_spread"] == 0
    metric.spread(samples)  # cut to the shorter
    with pytest.raises(ValueError, match="at least 2"):
        metric.spread(samples[:1])


# Identity


def test_identity_is_the_cosine_to_the_portrait_of_the_mean_and_of_the_worst_frame() -> None:
    here, away = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0.0, 1, 0, 0])
    shown = look(identity=torch.stack([here] * 9 + [away]))
    metric = IdentityMetric(by_judge(seen(shown, look(identity=here[None]))), "our judge", {"file": "hash"})
    clip = EvalClip(name="a", frames=frames(10), portrait=frames(1, 1)[0])
    found = metric.measure(clip)
    assert found == {"identity": pytest.approx(0.9), "identity_min": 0.0}
    assert "our judge" in metric.label and metric.identity["file"] == "hash"
    clip.portrait = None
    with pytest.raises(Unscored, match="no portrait"):
        metric.measure(clip)


# Controls


def _controls(shown: Measurement, felt: Tensor | None) -> ControlsMetric:
    return ControlsMetric(seen(shown, felt=felt), seen(shown))


def _obeying(asked: dict, leak: float = 0.0) -> dict[str, float]:
    """What is seen where a job is obeyed to the letter, but for a gaze whose yaw drags its pitch along."""
    pose, controls = torch.zeros(30, 6), torch.zeros(30, 11)
    yaw, pitch = asked.get("gaze_yaw", 0), asked.get("gaze_pitch", 0)
    pose[:, :3] = torch.tensor([math.radians(asked.get(f"head_{n}", 0)) for n in ("yaw", "pitch", "roll")])
    controls[:, 0], controls[:, 1] = math.radians(yaw), math.radians(pitch + leak * yaw)
    pose[:, 5] = -math.log(asked.get("distance", 1))
    felt = torch.from_numpy(emotion_weights(asked.get("emotion", {}))).float()
    clip = EvalClip(name="a", frames=frames(30), asked=asked)
    return _controls(look(pose, controls), felt).measure(clip)


SWEEPS = [
    *({"gaze_yaw": v, "seed": 3} for v in (-20, -10, 0, 10, 20)),
    *({"gaze_pitch": v} for v in (-15, 0, 15)),
    *({"distance": v} for v in (0.8, 1.0, 1.25)),
    *({"head_yaw": v} for v in (-15, 0, 15)),
    *({"emotion": v} for v in ("happy", "happy:0.5", {"sad": 0.7}, "anger", "neutral")),
]


def test_ideal_clips_have_no_error_full_monotony_and_no_leak() -> None:
    columns = [_obeying(asked) for asked in SWEEPS]
    assert columns[0]["gaze_yaw_seen"] == pytest.approx(-20, abs=1e-3)
    assert "gaze_pitch_error" not in columns[0] and columns[0]["gaze_yaw_error"] == pytest.approx(0, abs=1e-3)
    found = summarise_controls(SWEEPS, columns)
    for name in ("gaze_yaw", "gaze_pitch", "distance", "head_yaw", "emotion"):
        assert found[f"{name}_error"] == pytest.approx(0, abs=1e-3)
        assert found[f"{name}_monotony"] == pytest.approx(1, abs=1e-6)
        assert found[f"{name}_leak"] == pytest.approx(0, abs=1e-4)


def test_a_leak_is_found_in_sweeps_and_in_jobs_that_vary_everything() -> None:
    rng = np.random.default_rng(0)
    mixed = [
        {
            "gaze_yaw": rng.uniform(-20, 20),
            "gaze_pitch": rng.uniform(-15, 15),
            "distance": rng.uniform(0.8, 1.25),
        }
        for _ in range(30)
    ]
    for jobs in (SWEEPS, mixed):
        found = summarise_controls(jobs, [_obeying(asked, leak=0.25) for asked in jobs])
        # 40 degrees asked for move the pitch by 10 of its 40.1
        assert found["gaze_yaw_leak"] == pytest.approx(0.25, abs=0.015)
        assert found["distance_leak"] < 1e-3
        assert found["gaze_yaw_leak_into_gaze_pitch"] == found["gaze_yaw_leak"]
        assert found["gaze_yaw_leak_into_distance"] < 1e-3
        assert found["gaze_yaw_monotony"] == pytest.approx(1)
    disobeyed = summarise_controls(mixed, [_obeying({"gaze_yaw": -asked["gaze_yaw"]}) for asked in mixed])
    assert disobeyed["gaze_yaw_monotony"] == pytest.approx(-1) and disobeyed["distance_monotony"] == 0


def test_turns_are_seen_from_the_portraits_own_bearing() -> None:
    made, own = torch.zeros(30, 6), torch.zeros(1, 6)
    made[:, 0], own[:, 0], own[:, 2] = math.radians(12), math.radians(5), math.radians(-4)
    metric = ControlsMetric(seen(look(made), felt=torch.eye(8)[0]), seen(look(made), look(own)))
    asked = {"head_yaw": 10, "head_roll": 4}
    found = metric.measure(EvalClip(name="a", frames=frames(30), portrait=frames(1, 1)[0], asked=asked))
    assert found["head_yaw_error"] == pytest.approx(3, abs=1e-3)
    assert found["head_roll_error"] == pytest.approx(0, abs=1e-3)


def test_blinks_are_counted_where_a_rate_is_asked_for() -> None:
    controls = torch.zeros(250, 11)
    controls[:, 2] = controls[:, 3] = _blinking(250, [20, 80, 140, 200])
    metric = _controls(look(torch.zeros(250, 6), controls), torch.eye(8)[0])
    found = metric.measure(EvalClip(name="a", frames=frames(250), asked={"blink_rate": 30}))
    assert found["blink_rate_seen"] == pytest.approx(24) and found["blink_rate_error"] == pytest.approx(6)
    other = {**found, "blink_rate_seen": 9.0}
    row = metric.of_row([{"blink_rate": 30}, {"blink_rate": 10}, {"gaze_yaw": 3}], [found, other, found])
    assert row["blink_rate_monotony"] == pytest.approx(1)


def test_what_judges_get_wrong_is_no_fault_of_a_row() -> None:
    made = [{"gaze_yaw_error": 5.0}, {"gaze_yaw_error": 3.0}]
    made += [{"happy_recognised": 1.0}, {"happy_recognised": 0.0}, {"fear_recognised": 0.0}]
    true = [{"gaze_yaw_error": 1.0}, {"happy_recognised": 1.0}, {"fear_recognised": 0.0}]
    found = beyond_judges(made, true)
    assert found["gaze_yaw_beyond"] == pytest.approx(3)
    assert found["recognised"] == pytest.approx(0.25)
    assert found["recognised_readable"] == pytest.approx(0.5) and found["num_readable"] == 1
    happy = _obeying({"emotion": "happy"})
    assert happy["happy_recognised"] == 1 and "sad_recognised" not in happy
    assert "happy_recognised" not in _obeying({"emotion": "happy:0.5"})


def test_a_distance_is_the_portraits_times_what_was_asked_and_needs_square_frames() -> None:
    near, own = torch.zeros(30, 6), torch.zeros(1, 6)
    near[:, 5], own[:, 5] = math.log(1.5), math.log(1.2)
    refitted = look(torch.zeros(30, 6))  # as a square that is fitted to the face would show it
    metric = ControlsMetric(seen(refitted, felt=torch.eye(8)[0]), seen(look(near), look(own)))
    clip = EvalClip(name="a", frames=frames(30), portrait=frames(1, 1)[0], asked={"distance": 0.8})
    assert metric.measure(clip)["distance_error"] == pytest.approx(0, abs=1e-5)
    wide = np.concatenate([frames(30), frames(30)], 2)
    refitting = ControlsMetric(Seen(Exact(refitted), lambda cut: cut[:, :, :4], {}), seen())
    found = refitting.measure(EvalClip(name="b", frames=wide, asked={"distance": 0.8}))
    assert math.isnan(found["distance_seen"]) and found["gaze_yaw_seen"] == pytest.approx(0, abs=1e-3)
    row = metric.of_row([{"gaze_yaw": -9.0}, {"gaze_yaw": 9.0}], [found, found])
    assert row["gaze_yaw_monotony"] == 0 and "distance_monotony" not in row


def test_a_gaze_behind_closed_lids_does_not_count_and_errors_have_their_units() -> None:
    controls = torch.zeros(30, 11)
    controls[:, 0] = math.radians(10)
    controls[20:, 0] = math.radians(-25)
    controls[20:, CONTROL_INDEX["blink_left"]] = controls[20:, CONTROL_INDEX["blink_right"]] = 1.0
    felt = torch.zeros(8)
    felt[EMOTIONS.index("happy")], felt[0] = 0.4, 0.6
    clip = EvalClip(
        name="a", frames=frames(30), asked={"gaze_yaw": 12.0, "distance": 1.2, "emotion": "happy"}
    )
    found = _controls(look(controls=controls), felt).measure(clip)
    assert found["gaze_yaw_error"] == pytest.approx(2, abs=1e-3)
    assert found["distance_error"] == pytest.approx(0.2) and found["emotion_error"] == pytest.approx(0.6)
    with pytest.raises(Unscored, match="no control"):
        _controls(look(), None).measure(EvalClip(name="a", frames=frames(30), asked={"seed": 1}))
    with pytest.raises(ValueError, match="'glee'; wanted some of neutral"):
        emotion_weights("glee:0.5")
