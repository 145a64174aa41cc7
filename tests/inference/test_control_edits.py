"""What is asked is shown: gaze, distance and mood follow a track, heads are held and turned, blinks counted;
and nothing jumps where chunks meet, nor changes where nothing is asked.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vasa.data.synthetic.animation import mood_controls
from vasa.inference.asked import asked_of
from vasa.inference.config import InferRun
from vasa.inference.control_edits import edits_for
from vasa.inference.controls import emotion_weights
from vasa.inference.generation import Portrait
from vasa.inference.slow import SlowPart
from vasa.metrics.blinks import count_blinks
from vasa.records import CONTROL_INDEX, NUM_CONTROLS, MotionLayout

LAYOUT = MotionLayout.volumetric(NUM_CONTROLS)
CHUNK = 50
DEG = math.pi / 180


class PlainFace:
    """What edits need of a face space, one whose dynamics are the controls themselves."""

    layout = LAYOUT

    def controls(self, motion):
        return motion[:, LAYOUT.dynamics]

    def set_controls(self, motion, controls):
        return torch.cat([motion[:, LAYOUT.pose], controls], 1)


def shown(motion, options, chunk=CHUNK):
    """Motion (T, E) after all edits of a run, chunk by chunk; the portrait looks ahead at log scale 0.1."""
    home = torch.zeros(1, LAYOUT.width)
    home[0, LAYOUT.scale] = 0.1
    portrait = Portrait(np.zeros((32, 32, 3), np.uint8), None, None, home, 0.0)
    edits, made, parts = edits_for(options, asked_of(options), PlainFace(), portrait), 0, []
    for part in motion.split(chunk):
        for edit in edits:
            part = edit(part, made)
        made += len(part)
        parts.append(part)
    return torch.cat(parts)


def talking(num=500, seed=0):
    """Motion of a head that nods and looks about, with gaze off by 3 degrees; retargeted to log scale 0.1."""
    noise = torch.randn(num, LAYOUT.width, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool1d(noise.T[None], 9, 1, 4, count_include_pad=False)[0].T
    motion = 0.1 * smooth
    motion[:, LAYOUT.scale] = 0.1 + 0.01 * smooth[:, LAYOUT.scale]
    motion[:, control("gaze_yaw")] = 3 * DEG + 0.05 * smooth[:, 0]
    motion[:, control("gaze_pitch")] = 0.03 * smooth[:, 1]
    motion[:, control("blink_left")] = motion[:, control("blink_right")] = 0.0
    return motion


def control(name):
    return LAYOUT.dynamics.start + CONTROL_INDEX[name]


def track(folder, content):
    (folder / "track.csv").write_text(content)
    return folder / "track.csv"


def largest_step(values):
    return float((values[1:] - values[:-1]).abs().max())


def test_where_nothing_is_asked_nothing_changes():
    motion = talking()
    assert torch.equal(shown(motion, InferRun()), motion)
    assert torch.equal(shown(motion, InferRun(emotion="happy", distance=1.2)), motion)


def test_a_gaze_asked_for_is_the_main_direction_and_looks_aside_stay():
    motion = talking()
    motion[200:215, control("gaze_yaw")] += 0.3  # a look aside
    motion[300:306, control("gaze_yaw")] = -0.5  # nothing can be seen behind lids
    motion[300:306, [control("blink_left"), control("blink_right")]] = 1.0
    made = shown(motion, InferRun(gaze_yaw=10.0))
    gaze = made[:, control("gaze_yaw")]
    assert abs(float(gaze.median()) - 10 * DEG) < 0.7 * DEG
    aside = float(gaze[203:212].mean() - gaze[170:190].mean())
    assert aside == pytest.approx(0.3, abs=0.06)
    others = [i for i in range(LAYOUT.width) if not LAYOUT.dynamics.start <= i < LAYOUT.dynamics.start + 2]
    assert torch.equal(made[:, others], motion[:, others])
    change = (made - motion)[:, control("gaze_yaw")]
    assert largest_step(change) < 0.5 * DEG  # nothing jumps, also not where chunks meet


def test_a_track_of_gaze_and_distance_is_followed_within_a_window(tmp_path):
    content = "time,gaze_yaw,distance\n0,-8,1\n6,-8,1\n6.4,8,1.3\n12,8,1.3\n"
    options = InferRun(controls=track(tmp_path, content))
    asked = asked_of(options)
    motion = talking()
    told = torch.cat(
        [asked.conditions()(first, first + 50).gaze.expand(50, 2) for first in range(0, 500, 50)]
    )
    near = torch.cat([asked.conditions()(n, n + 50).distance.expand(50, 1) for n in range(0, 500, 50)])
    motion[:, 5] -= near[:, 0].log()
    motion[:, control("gaze_yaw")] += told[:, 0]  # a model that does exactly as it is told, window by window
    made = shown(motion, options)
    gaze, distance = made[:, control("gaze_yaw")] / DEG, (0.1 - made[:, 5]).exp()
    for part in (slice(0, 148), slice(162, 290), slice(320, 500)):
        wanted = asked.at("gaze_yaw", 0, 500)[part] / DEG
        assert float((gaze[part] - wanted).mean().abs()) < 1.0
        assert float((distance[part] / asked.at("distance", 0, 500)[part]).log().mean().abs()) < 0.01
    steps = (asked.broadly("gaze_yaw", 0, 500).diff().abs()).max() / DEG
    assert float(steps) < 0.2  # the model hears of it in broad strokes


def test_a_mood_waxes_and_wanes_as_its_track_does(tmp_path):
    options = InferRun(controls=track(tmp_path, "time,emotion\n0,neutral\n4,neutral\n5,happy\n12,happy\n"))
    asked = asked_of(options)
    motion = torch.zeros(300, LAYOUT.width)
    told = torch.cat([asked.broadly("emotion", n, n + 50) for n in range(0, 300, 50)])
    motion[:, LAYOUT.dynamics] = mood_controls(told).float()
    made = shown(motion, options)[:, LAYOUT.dynamics]
    happy = mood_controls(emotion_weights("happy")).float()
    torch.testing.assert_close(made[:100], torch.zeros(100, 11), atol=1e-5, rtol=0)
    torch.testing.assert_close(made[125:], happy.expand(175, -1), atol=1e-5, rtol=0)
    assert float(made[112, CONTROL_INDEX["smile"]]) == pytest.approx(0.85 * 0.48, abs=0.03)


def test_heads_are_held_moved_less_and_turned(tmp_path):
    motion = talking()
    still = shown(motion, InferRun(head_motion=0.0, head_yaw=10.0))
    torch.testing.assert_close(still[:, 0], torch.full((500,), 10 * DEG))
    torch.testing.assert_close(still[:, 5], torch.full((500,), 0.1))
    assert 0.01 < float(still[0, 3]) < 0.02 and largest_step(still[:, :6]) < 1e-6  # about the neck
    assert torch.equal(still[:, LAYOUT.dynamics], motion[:, LAYOUT.dynamics])
    half = shown(motion, InferRun(head_motion=0.5))
    torch.testing.assert_close(half[:, :3], motion[:, :3] / 2)
    spin = track(tmp_path, "time,yaw,head_motion\n0,0,0\n5,20,0\n15,-20,0\n20,0,0\n")
    spun = shown(motion, InferRun(controls=spin))[:, 0] / DEG
    wanted = torch.tensor(np.interp(np.arange(500) / 25, [0, 5, 15, 20], [0, 20, -20, 0])).float()
    torch.testing.assert_close(spun, wanted, atol=1e-3, rtol=0)


def test_a_head_goes_round_as_it_is_given_and_the_face_speaks_on(tmp_path, caplog):
    """VASA-1's given spinning pose: a circle of yaw and pitch, the dynamics those that the sound made."""
    angles = [round_ * math.pi / 50 for round_ in range(500)]  # a round in 4 s, a row a frame
    rows = [f"{n / 25},0,{15 * math.cos(a)},{10 * math.sin(a)}\n" for n, a in enumerate(angles)]
    motion = talking()
    made = shown(motion, InferRun(controls=track(tmp_path, "time,head_motion,yaw,pitch\n" + "".join(rows))))
    a = torch.tensor(angles, dtype=torch.float32)
    circle = torch.stack([15 * a.cos(), 10 * a.sin(), torch.zeros(500)], 1)
    torch.testing.assert_close(made[:, :3] / DEG, circle, atol=1e-3, rtol=0)
    assert torch.equal(made[:, LAYOUT.dynamics], motion[:, LAYOUT.dynamics])
    assert not caplog.records


def test_turning_further_than_was_measured_is_said(tmp_path, caplog):
    shown(talking(50), InferRun(controls=track(tmp_path, "time,yaw\n0,-15\n1,-25\n2,15\n"), head_roll=20.0))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "head_yaw goes to 25 degrees; pictures were measured up to 15",
        "head_roll goes to 20 degrees; pictures were measured up to 10",
    ]


def test_an_absolute_head_is_held_where_it_begins():
    motion = talking()
    motion[:, 0] += 0.2
    made = shown(motion, InferRun(head_motion=0.0, pose="absolute"))
    torch.testing.assert_close(made[:, 0], motion[:CHUNK, 0].mean().expand(500))


def test_a_head_that_wanders_off_is_held_back_without_a_jump():
    motion = talking(3000)
    motion[:, 0] += torch.linspace(0, 40 * DEG, 3000)
    made = shown(motion, InferRun(head_range=12.0))
    assert torch.equal(made[:200], motion[:200])
    assert float(made[2500:, 0].mean()) < 14 * DEG < float(motion[2500:, 0].mean())
    assert largest_step((made - motion)[:, 0]) < 0.3 * DEG
    fast = motion[2500:, 0] - SlowPart(1.0)(motion[2500:, :1])[:, 0]
    kept = made[2500:, 0] - SlowPart(1.0)(made[2500:, :1])[:, 0]
    assert float(kept.std() / fast.std()) > 0.95  # it moves as before


def blinking(num, times):
    motion = torch.zeros(num, LAYOUT.width)
    for time in times:
        for frame, closure in enumerate((0.5, 0.97, 0.97, 0.8, 0.4, 0.1), time):
            motion[frame, [control("blink_left"), control("blink_right")]] = closure
    return motion


@pytest.mark.parametrize("rate", [0.0, 6.0, 15.0, 40.0])
@pytest.mark.parametrize("chunk", [50, 37])
def test_blinks_come_at_the_rate_that_is_asked(rate, chunk):
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.integers(20, 150, 35))
    motion = blinking(3000, [int(t) for t in times if t < 2990])
    made = shown(motion, InferRun(blink_rate=rate, seed=1), chunk)
    lids = made[:, [control("blink_left"), control("blink_right")]].mean(1)
    assert count_blinks(lids) == pytest.approx(2 * rate, abs=1.5)
    if rate == 0:
        assert float(lids.max()) < 0.2
    gaps = np.diff(np.flatnonzero(np.diff((lids > 0.35).int().numpy()) == 1))
    assert rate < 10 or (gaps.min() > 10 and gaps.std() > 10)  # neither a flutter nor a clock
    untouched = [i for i in range(LAYOUT.width) if i not in (control("blink_left"), control("blink_right"))]
    assert torch.equal(made[:, untouched], motion[:, untouched])


def test_blinks_that_fit_the_rate_stay_as_they_are():
    motion = blinking(1500, range(60, 1500, 150))  # 10 a minute
    made = shown(motion, InferRun(blink_rate=10.0))
    same = (made == motion).all(1)
    assert float(same.float().mean()) > 0.97


def test_blinks_depend_on_the_seed_alone():
    motion = blinking(1500, [])
    one, two, other = (shown(motion, InferRun(blink_rate=20.0, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_the_slow_part_follows_and_forgets_outliers():
    slow = SlowPart(1.0, 0.1)
    values = torch.zeros(100, 1)
    values[40:50] = 2.0
    first = slow(values)
    assert float(first.abs().max()) < 0.1
    second = slow(torch.ones(300, 1))
    assert largest_step(torch.cat([first, second])) < 0.05
    assert float(second[-1]) == pytest.approx(1.0, abs=0.01)


def test_a_mood_is_added_to_motion_that_no_model_made():
    motion, happy = torch.zeros(500, LAYOUT.width), mood_controls(emotion_weights("happy")).float()
    driven = shown(motion, InferRun(emotion="happy", driving="driver.mp4"))
    torch.testing.assert_close(
        (driven - motion)[:, LAYOUT.dynamics], happy.expand(500, -1), atol=1e-5, rtol=0
    )
    assert torch.equal(shown(motion, InferRun(driving="driver.mp4")), motion)
