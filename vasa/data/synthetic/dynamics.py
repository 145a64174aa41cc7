"""How a head moves while it speaks: posture, nods on accents, blinks, gaze and brows, from the speech and a
seed.

Tracks are NumPy arrays at VIDEO_FPS, T frames, in the units of records.py. What follows the speech (nods,
energy, brows) is a function of the speech alone and of the clip's style, at no delay, so that it can be
learnt from sound; what does not is smooth noise without content above 2.5 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vasa.data.synthetic.speech import Speech
from vasa.records import VIDEO_FPS

HIGHEST_HZ = 2.5
BLINK_SECONDS = (0.20, 0.34)
MIN_BLINK_GAP_S = 0.7


@dataclass(frozen=True, slots=True)
class Style:
    """Temper of one clip. yaw, pitch, roll: mean posture, radians. translation: mean place, half image
    widths. distance: mean d. lively: overall amount of motion (1 mean). nod: radians of pitch at a full
    accent. tilt: radians of roll at a full accent. brows: brow raise at a full accent. blinks: a minute.
    gaze: main direction relative to the head, radians.
    """

    yaw: float
    pitch: float
    roll: float
    translation: tuple[float, float]
    distance: float
    lively: float
    nod: float
    tilt: float
    brows: float
    blinks: float
    gaze: tuple[float, float]

    @staticmethod
    def draw(rng: np.random.Generator) -> Style:
        yaw, pitch = np.clip(rng.normal(0, 0.14), -0.3, 0.3), np.clip(rng.normal(0, 0.06), -0.14, 0.14)
        if rng.random() < 0.45:  # looks into the camera: the eyes undo the head's turn
            gaze = (-0.9 * yaw + rng.normal(0, 0.02), -0.9 * pitch + rng.normal(0, 0.02))
        else:
            gaze = (rng.uniform(-0.38, 0.38), rng.uniform(-0.24, 0.24))
        return Style(
            yaw=float(yaw),
            pitch=float(pitch),
            roll=float(np.clip(rng.normal(0, 0.045), -0.12, 0.12)),
            translation=(float(rng.uniform(-0.07, 0.07)), float(rng.uniform(-0.06, 0.05))),
            distance=float(rng.uniform(0.8, 1.25)),
            lively=float(np.exp(rng.normal(0, 0.3))),
            nod=float(rng.uniform(0.03, 0.11)),
            tilt=float(rng.normal(0, 0.03)),
            brows=float(rng.uniform(0.1, 0.6)),
            blinks=float(rng.uniform(11, 24)),
            gaze=(float(np.clip(gaze[0], -0.42, 0.42)), float(np.clip(gaze[1], -0.28, 0.28))),
        )


def smooth_noise(
    num_frames: int, highest_hz: float, corner_hz: float, rng: np.random.Generator
) -> np.ndarray:
    """Unit-variance noise (T,): the spectrum of an Ornstein-Uhlenbeck walk with corner ``corner_hz``, none
    above ``highest_hz``.
    """
    num = (
        num_frames + 8 * VIDEO_FPS
    )  # longer than needed: the discrete spectrum is periodic, the excerpt is not
    frequency = np.fft.rfftfreq(num, 1 / VIDEO_FPS)
    shape = 1 / np.sqrt(1 + (frequency / corner_hz) ** 2)
    shape *= np.clip((highest_hz - frequency) / (0.4 * highest_hz), 0, 1)
    shape[0] = 0
    spectrum = shape * (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape)))
    track = np.fft.irfft(spectrum, num)
    power = 2 * (2 * shape**2).sum() / num**2  # expected variance of the track
    return track[:num_frames] / np.sqrt(power)


def gaussian(track: np.ndarray, sigma_frames: float) -> np.ndarray:
    """A track (T,) smoothed symmetrically (no delay)."""
    reach = int(np.ceil(4 * sigma_frames))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_frames) ** 2)
    return np.convolve(np.pad(track, reach, mode="edge"), kernel / kernel.sum(), "valid")


def accent_track(speech: Speech, width_s: float = 0.16) -> np.ndarray:
    """A bump (T,) of each accent's strength, centred on its syllable."""
    t = (np.arange(speech.num_frames) + 0.5) / VIDEO_FPS
    track = np.zeros(speech.num_frames)
    for accent in speech.accents:
        track += accent.strength * np.exp(-0.5 * ((t - accent.time_s) / width_s) ** 2)
    return track


def head_pose(speech: Speech, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Pose (T, 6) in the order of records.POSE_NAMES.

    Pitch falls on accents and rises a little with slow loudness; roll leans with accents; each phrase begins
    with a new posture; pauses are calmer. The head turns about the neck, so a turn also moves its centre.
    """
    num = speech.num_frames
    accents = accent_track(speech)
    energy = gaussian(speech.loudness.astype(np.float64), 5)
    active = 0.45 + 0.55 * gaussian(speech.speaking.astype(np.float64), 8)
    lively = style.lively
    walk = [smooth_noise(num, HIGHEST_HZ, corner, rng) for corner in (0.25, 0.3, 0.25, 0.15, 0.15, 0.1)]
    posture = _postures(speech, rng)
    yaw = style.yaw + lively * (active * 0.06 * walk[0] + 0.07 * posture[:, 0])
    pitch = style.pitch + lively * (active * 0.035 * walk[1] + 0.025 * posture[:, 1])
    pitch = pitch - style.nod * lively * accents + 0.05 * lively * (energy - 0.5) * active
    roll = style.roll + lively * (active * 0.025 * walk[2] + 0.03 * posture[:, 2]) + style.tilt * accents
    yaw, pitch, roll = np.clip(yaw, -0.5, 0.5), np.clip(pitch, -0.32, 0.32), np.clip(roll, -0.3, 0.3)
    x = (
        style.translation[0]
        + 0.10 * np.sin(yaw - style.yaw)
        - 0.12 * np.sin(roll - style.roll)
        + 0.008 * lively * walk[3]
    )
    y = style.translation[1] + 0.10 * np.sin(pitch - style.pitch) + 0.006 * lively * walk[4]
    log_distance = np.log(style.distance) + np.clip(
        0.012 * lively * walk[5] - 0.012 * lively * accents, -0.1, 0.1
    )
    pose = np.stack([yaw, pitch, roll, x, y, -log_distance], axis=1)
    return np.stack([gaussian(pose[:, column], 1.5) for column in range(6)], axis=1)


def _postures(speech: Speech, rng: np.random.Generator) -> np.ndarray:
    """Three tracks (T, 3) of unit scale that move to a new value over about 0.7 s as each phrase begins."""
    num = speech.num_frames
    targets = np.zeros((num, 3))
    starts = np.flatnonzero(np.diff(speech.speaking.astype(int), prepend=0) == 1)
    for start in (0, *starts):
        targets[max(start - 4, 0) :] = np.clip(rng.standard_normal(3), -2, 2)
    return np.stack([gaussian(targets[:, column], 6) for column in range(3)], axis=1)


def blinks(
    speech: Speech, rate_per_min: float, saccades: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Lid closure (T,), 0 open to 1 closed, and the number of blinks.

    Blinks come at random at ``rate_per_min`` on average, likelier as a phrase ends and with large gaze shifts
    (``saccades``, bool (T,)), never within MIN_BLINK_GAP_S. A lid closes twice as fast as it opens.
    """
    num = speech.num_frames
    speaking = speech.speaking.astype(int)
    ends = gaussian((np.diff(speaking, prepend=speaking[0]) == -1).astype(float), 3)
    hazard = 0.6 + 12 * ends + 1.5 * gaussian(saccades.astype(float), 2)
    # The pause after a blink takes its share of the time; what is left must come at a higher rate.
    rate = rate_per_min / 60
    hazard = hazard / hazard.mean() * rate / max(1 - rate * MIN_BLINK_GAP_S, 0.2) / VIDEO_FPS
    t = np.arange(num) + 0.5
    track, count, next_allowed = np.zeros(num), 0, 0.0
    for frame in range(num):
        draw, offset, length, depth = (
            rng.random(),
            rng.random(),
            rng.uniform(*BLINK_SECONDS),
            rng.uniform(0.94, 1.0),
        )
        if frame < next_allowed or draw >= hazard[frame]:
            continue
        duration = length * VIDEO_FPS
        phase = (t - frame - offset) / duration
        closing = np.clip(phase / 0.30, 0, 1)
        opening = np.clip((1 - phase) / 0.55, 0, 1)
        shape = np.minimum(closing, opening)
        track = np.maximum(track, depth * shape * shape * (3 - 2 * shape))
        count, next_allowed = count + 1, frame + duration + MIN_BLINK_GAP_S * VIDEO_FPS
    return track, count


def gaze(
    speech: Speech, style: Style, pose: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Gaze (T, 2) relative to the head, radians, and where it jumped far (T,) bool.

    Fixations of 0.4 to 2.5 s near the main direction; now and then, more often in pauses, a longer look away.
    The eyes hold their target while the head turns (half of the head's deviation from its mean is undone).
    """
    num = speech.num_frames
    fixations, far = np.zeros((num, 2)), np.zeros(num, bool)
    frame, away = 0, False
    while frame < num:
        away = not away and rng.random() < (0.10 if speech.speaking[frame] else 0.22)
        spread = (0.20, 0.10) if away else (0.025, 0.015)
        jump = rng.normal(0, 1, 2) * spread
        fixations[frame:] = jump
        far[frame] = away and frame > 0
        frame += int(VIDEO_FPS * (rng.uniform(0.4, 1.0) if away else rng.uniform(0.5, 2.5)))
    # A saccade of this size lasts 30 to 60 ms: one frame between two fixations.
    moved = np.stack(
        [
            np.convolve(np.pad(fixations[:, axis], 1, mode="edge"), (0.15, 0.7, 0.15), "valid")
            for axis in (0, 1)
        ],
        axis=1,
    )
    head = pose[:, :2] - (style.yaw, style.pitch)
    track = np.asarray(style.gaze) + moved - 0.5 * head
    return np.clip(track, (-0.5, -0.35), (0.5, 0.35)), far


def brows(speech: Speech, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Brow raise (T,): with the strongest accents, and a slow change of its own."""
    strong = np.clip(accent_track(speech, 0.2) - 0.55, 0, None) / 0.45
    return style.brows * strong + 0.05 * smooth_noise(speech.num_frames, 1.0, 0.2, rng)


def main_direction(track: np.ndarray, bin_rad: float = 0.05) -> np.ndarray:
    """The main mode (2,) of a gaze track (T, 2): mean of the frames around the fullest cell of a smoothed
    histogram.
    """
    cells = np.round(track / bin_rad).astype(int)
    near = (np.abs(cells[:, None] - cells[None]).max(axis=2) <= 1).sum(axis=1)
    centre = cells[near.argmax()]
    return track[np.abs(cells - centre).max(axis=1) <= 1].mean(axis=0)
