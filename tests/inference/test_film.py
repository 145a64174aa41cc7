"""A film of a motion model in training: as many frames as its sound is long, and the sound."""

import numpy as np

from vasa.audio import read_audio
from vasa.inference.film import MotionFilm
from vasa.motion.windows import MotionGenerator
from vasa.video import VideoReader


def test_a_film_speaks(tiny_runs, tmp_path):
    film = MotionFilm(tiny_runs, 1.0, 0, "cpu")
    path = tmp_path / "00000010.mp4"
    film(MotionGenerator.from_pretrained(tiny_runs), path)
    frames = np.stack([frame.copy() for frame in VideoReader(path)])
    assert frames.shape == (25, film.face.size, film.face.size, 3) and frames.std() > 1
    sound, rate = read_audio(path)
    assert abs(len(sound) / rate - 1) < 0.1 and float(np.abs(sound).max()) > 0.05
