"""A waveform as the motion model hears it: speech features of a few seconds at a time, equal to those of the
whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from vasa.audio import fit_length, resample
from vasa.motion.joyvasa_speech import JoyvasaSpeech
from vasa.pretrained.speech import SpeechEncoder
from vasa.records import SAMPLES_PER_FRAME, VIDEO_FPS

FEATURE_CHUNK_S = 20
FEATURE_CONTEXT_S = 1
"""Sound is encoded 20 s at a time with a second of it on either side: whole seconds, so that every rate
divides evenly.
"""


def feature_chunks(
    encoder: SpeechEncoder, samples: np.ndarray, sample_rate: int, num_frames: int
) -> Iterator[Tensor]:
    """Speech features (t, A) of ``num_frames`` frames at 25 fps, in chunks that agree with the whole.

    The sound is gone through twice: first for its level, which every chunk is brought to. An encoder that
    hears in windows of its own gets whole ones, without context.
    """
    chunk, context = FEATURE_CHUNK_S * VIDEO_FPS, FEATURE_CONTEXT_S * VIDEO_FPS
    if isinstance(encoder, JoyvasaSpeech):
        chunk, context = max(1, chunk // encoder.window_frames) * encoder.window_frames, 0

    def sound(first: int, last: int) -> np.ndarray:
        """Frames ``first`` to ``last`` at the encoder's rate; where it ends early, silence follows."""
        begin, end = (round(frame * sample_rate / VIDEO_FPS) for frame in (first, last))
        return fit_length(resample(samples[begin:end], sample_rate), (last - first) * SAMPLES_PER_FRAME)

    starts = range(0, num_frames, chunk)
    reference = encoder.reference(sound(start, min(start + chunk, num_frames)) for start in starts)
    for start in starts:
        stop = min(start + chunk, num_frames)
        first, last = max(start - context, 0), min(stop + context, num_frames)
        yield encoder.features(sound(first, last), last - first, reference)[start - first : stop - first]
