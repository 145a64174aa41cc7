"""Writing video: h264 with aac sound, by the encoder that imageio-ffmpeg carries, whole or not at all."""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
import threading
import wave
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from vasa.records import VIDEO_FPS

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
    exception leaves no file behind.
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
        note: str = SYNTHETIC_NOTE,
    ) -> None:
        """audio: float (N,) mono in [-1, 1] at ``audio_hz``. crf: x264's quality, 0 lossless to 51. note: the
        comment tag.
        """
        self.path = Path(path)
        check_video_path(self.path)
        if height % 2 or width % 2:
            raise ValueError(
                f"frames are {width}x{height}; h264 wants an even width and height: crop or pad by one pixel."
            )
        if (audio is None) != (audio_hz is None):
            raise ValueError("audio and audio_hz go together; give both or neither.")
        self._shape, self._fps, self._crf, self._note = (height, width, 3), fps, crf, note
        self._audio, self._audio_hz = audio, audio_hz
        self.num_frames = 0

    def __enter__(self) -> VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The names inside are ours, so no dash or percent sign of the user's name reaches the encoder.
        self._folder = tempfile.TemporaryDirectory(prefix=".vasa-", dir=self.path.parent)
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
        self._encoder = _Ffmpeg(
            [*source, "-i", "pipe:0", *colour, *codec, *_muxing(self._note), _url(self._silent)]
        )
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends one uint8 (H, W, 3) RGB frame."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}; wanted uint8 {self._shape}.")
        self._encoder.feed(np.ascontiguousarray(frame).data)
        self.num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._folder:
            if kind is not None:
                self._encoder.stop()
                return
            self._encoder.finish()
            if self.num_frames == 0:
                raise ValueError(f"no frame was written for {str(self.path)!r}; a video wants at least one.")
            finished = self._silent if self._audio is None else self._with_sound()
            finished.replace(self.path)

    def _with_sound(self) -> Path:
        assert self._audio is not None and self._audio_hz is not None
        sound, finished = Path(self._folder.name) / "sound.wav", Path(self._folder.name) / "finished.mp4"
        _write_wav(
            sound, self._audio, self._audio_hz, math.ceil(self.num_frames / self._fps * self._audio_hz)
        )
        inputs = ["-i", _url(self._silent), "-i", _url(sound), "-map", "0:v:0", "-map", "1:a:0"]
        codec = ["-c:v", "copy", "-c:a", "aac", "-b:a", "160k", "-flags:a", "+bitexact"]
        _Ffmpeg([*inputs, *codec, *_muxing(self._note), _url(finished)]).finish()
        return finished


def check_video_path(path: Path) -> None:
    """Raises ValueError or OSError unless a video can be put at ``path``: before the work, not after it.

    Folders that are missing are made when the video is written.
    """
    if path.suffix.lower() not in (".mp4", ".m4v", ".mov"):
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


def _muxing(note: str) -> list[str]:
    return [
        "-map_metadata",
        "-1",
        "-fflags",
        "+bitexact",
        "-metadata",
        f"comment={note}",
        "-movflags",
        "+faststart",
        "-f",
        "mp4",
    ]


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


class _Ffmpeg:
    """One run of the bundled encoder. Its complaints are drained by a thread: a full pipe would stop it for
    good.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        import imageio_ffmpeg

        try:
            program = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError as error:
            raise OSError(f"no video encoder on this machine ({error}); install ffmpeg.") from error
        command = [program, "-hide_banner", "-loglevel", "error", "-y", *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, bufsize=0
        )
        self._complaints: deque[str] = deque(maxlen=8)
        self._drain = threading.Thread(target=self._read_complaints, daemon=True)
        self._drain.start()

    def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._complaints.append(line.decode(errors="replace").strip())

    def feed(self, data: memoryview) -> None:
        assert self._process.stdin is not None
        left = data.cast("B")
        try:
            while left:
                left = left[self._process.stdin.write(left) :]
        except (BrokenPipeError, ValueError):
            self.finish()

    def finish(self) -> None:
        """Waits for the encoder; raises OSError with its own words when it did not succeed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait()
        self._drain.join()
        if code != 0:
            how = f"was killed by signal {-code}" if code < 0 else f"failed with code {code}"
            raise OSError(
                f"the video encoder {how}: {' '.join(self._complaints) or 'it said nothing'}; no file was "
                "written."
            )

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        assert self._process.stdin is not None
        self._process.stdin.close()
