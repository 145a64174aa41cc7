"""Writing video: h264 with aac sound, by the encoder that imageio-ffmpeg carries, whole or not at all."""

from __future__ import annotations

import errno
import math
import os
import platform
import shutil
import tempfile
import time
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from vasa.records import VIDEO_FPS
from vasa.video.content import Content, content_of
from vasa.video.encoder import Feeder, Ffmpeg

VIDEO_ENDINGS = (".mp4", ".m4v", ".mov")
SYNTHETIC_NOTE = (
    "Synthetic video: generated from a portrait and a sound file by vasa; it records no real event."
)


class VideoWriter:
    """Writes exactly the frames it is given as h264, with sound as aac, under a temporary name until it is
    complete.

        with VideoWriter("o.mp4", height=128, width=128, audio=waveform, audio_hz=16000) as writer:
            writer.write(frame)

    The sound is kept whole and starts with the first frame; where it ends before the picture, silence
    follows. The same input gives the same bytes (one encoder thread, no dates). Leaving the block by an
    exception leaves no file behind. Frames are encoded in a thread while the next ones are made; what goes
    wrong there is raised by a later ``write`` or by the end of the block.

    encode_s: seconds that the encoder and the muxer took; waiting_s: those in which the caller stood still
    for them.
    """

    def __init__(
        self,
        path: str | Path,
        height: int,
        width: int,
        fps: float = VIDEO_FPS,
        audio: np.ndarray | None = None,
        audio_hz: int | None = None,
        crf: int = 16,
        describe: Callable[[Content], Mapping[str, str]] | None = None,
    ) -> None:
        """audio: float (N,) mono in [-1, 1] at ``audio_hz``. crf: x264's quality, 0 lossless to 51. describe:
        given what is in the finished file, tags to write into it besides the comment that it is synthetic.
        """
        self.path = Path(path)
        check_video_path(self.path)
        if height % 2 or width % 2:
            raise ValueError(
                f"frames are {width}x{height}; h264 wants an even width and height: crop or pad by one pixel."
            )
        if (audio is None) != (audio_hz is None):
            raise ValueError("audio and audio_hz go together; give both or neither.")
        self._shape, self._fps, self._crf, self._describe = (height, width, 3), fps, crf, describe
        self._audio, self._audio_hz = audio, audio_hz
        self.num_frames = 0
        self._muxing_s = 0.0

    def __enter__(self) -> VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The names inside are ours, so no dash or percent sign of the user's name reaches the encoder.
        self._folder = tempfile.TemporaryDirectory(
            prefix=f"{_partial_of_this_machine()}{os.getpid()}-", dir=self.path.parent
        )
        self._silent = Path(self._folder.name) / "silent.mp4"
        source = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            f"{self._shape[1]}x{self._shape[0]}",
            "-r",
            str(self._fps),
        ]
        colour = [
            "-vf",
            "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,format=yuv420p",
        ]
        colour += [
            "-colorspace",
            "bt709",
            "-color_primaries",
            "bt709",
            "-color_trc",
            "bt709",
            "-color_range",
            "tv",
        ]
        codec = [
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-crf",
            str(self._crf),
            "-threads",
            "1",
            "-flags:v",
            "+bitexact",
        ]
        self._encoder = Ffmpeg([*source, "-i", "pipe:0", *colour, *codec, *_muxing(), _url(self._silent)])
        self._feeder = Feeder(self._encoder, math.prod(self._shape))
        return self

    @property
    def encode_s(self) -> float:
        return self._feeder.encode_s + self._muxing_s

    @property
    def waiting_s(self) -> float:
        return self._feeder.waiting_s + self._muxing_s

    def write(self, frame: np.ndarray) -> None:
        """Appends one uint8 (H, W, 3) RGB frame."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}; wanted uint8 {self._shape}.")
        self._feeder.put(frame)
        self.num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._folder:
            complete = False
            try:
                if kind is None:
                    self._complete()
                    complete = True
            except OSError as failed:
                if failed.errno != errno.ENOSPC:
                    raise
                raise OSError(errno.ENOSPC, "no space left", str(self.path)) from failed
            finally:
                if not complete:
                    self._feeder.stop()

    def _complete(self) -> None:
        self._feeder.finish()
        if self.num_frames == 0:
            raise ValueError(f"no frame was written for {str(self.path)!r}; a video wants at least one.")
        started = time.perf_counter()
        finished = self._silent if self._audio is None else self._with_sound()
        if self._describe is not None:
            finished = self._tagged(finished, self._describe(content_of(finished)))
        finished.replace(self.path)
        self._muxing_s = time.perf_counter() - started

    def _with_sound(self) -> Path:
        assert self._audio is not None and self._audio_hz is not None
        sound, finished = Path(self._folder.name) / "sound.wav", Path(self._folder.name) / "sounding.mp4"
        _write_wav(
            sound, self._audio, self._audio_hz, math.ceil(self.num_frames / self._fps * self._audio_hz)
        )
        inputs = ["-i", _url(self._silent), "-i", _url(sound), "-map", "0:v:0", "-map", "1:a:0"]
        codec = ["-c:v", "copy", "-c:a", "aac", "-b:a", "160k", "-flags:a", "+bitexact"]
        Ffmpeg([*inputs, *codec, *_muxing(), _url(finished)]).finish()
        return finished

    def _tagged(self, video: Path, tags: Mapping[str, str]) -> Path:
        """The same pictures and sound, not encoded again, with texts about them."""
        tagged = Path(self._folder.name) / "tagged.mp4"
        Ffmpeg(["-i", _url(video), "-map", "0", "-c", "copy", *_muxing(tags), _url(tagged)]).finish()
        return tagged


def remove_abandoned(folder: Path, also_own: bool = False) -> None:
    """Removes half-written videos in ``folder`` whose processes, on this machine, have ended: killed ones.

    also_own: those of this process, too, which is writing none any more.
    """
    start = _partial_of_this_machine()
    for partial in folder.glob(f"{start}*"):
        pid = partial.name.removeprefix(start).split("-")[0]
        if not pid.isdigit():
            continue
        is_own = int(pid) == os.getpid()
        if also_own if is_own else not _is_alive(int(pid)):
            shutil.rmtree(partial, ignore_errors=True)


def _partial_of_this_machine() -> str:
    return f".vasa-{platform.node()}-"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def check_video_path(path: Path) -> None:
    """Raises ValueError or OSError unless a video can be put at ``path``: before the work, not after it.

    Folders that are missing are made when the video is written.
    """
    if path.suffix.lower() not in VIDEO_ENDINGS:
        raise ValueError(
            f"output {str(path)!r} ends in {path.suffix or 'nothing'!r}; wanted a name ending in .mp4."
        )
    if path.is_dir():
        raise ValueError(f"output {str(path)!r} is a folder; add a file name ending in .mp4.")
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if not nearest.is_dir():
        raise ValueError(
            f"output {str(path)!r} lies in {str(nearest)!r}, which is not a folder; name another place."
        )
    if not os.access(nearest, os.W_OK):
        raise OSError(f"output folder {str(nearest)!r} cannot be written to; name another.")


def _muxing(tags: Mapping[str, str] | None = None) -> list[str]:
    texts = {"comment": SYNTHETIC_NOTE, **(tags or {})}
    named = [word for name, text in texts.items() for word in ("-metadata", f"{name}={text}")]
    kind = ["-movflags", "+faststart", "-f", "mp4"]
    return ["-map_metadata", "-1", "-fflags", "+bitexact", *named, *kind]


def _url(path: Path) -> str:
    """An explicit file URL: a bare "a:b.mp4" would be taken for a protocol."""
    return f"file:{path.absolute()}"


def _write_wav(path: Path, audio: np.ndarray, audio_hz: int, min_samples: int) -> None:
    """16-bit mono, in pieces, with silence appended up to ``min_samples``."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio_hz)
        for start in range(0, len(audio), 1 << 20):
            piece = np.clip(audio[start : start + (1 << 20)], -1, 1)
            file.writeframes((piece * 32767).round().astype("<i2").tobytes())
        file.writeframes(bytes(2 * max(0, min_samples - len(audio))))
