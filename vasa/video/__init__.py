"""Video in and out: frame-exact reading at a steady rate, writing with sound, contact sheets.

Frames are uint8 (H, W, 3) RGB. Everything is an iterator: memory does not grow with the length of a video.
Knows nothing of faces.
"""

from vasa.video.content import Content, content_of
from vasa.video.reader import VideoReader, frame_count, resample_indices
from vasa.video.sheet import spread, write_contact_sheet
from vasa.video.writer import SYNTHETIC_NOTE, VIDEO_ENDINGS, VideoWriter, check_video_path, remove_abandoned

__all__ = [
    "SYNTHETIC_NOTE",
    "VIDEO_ENDINGS",
    "Content",
    "VideoReader",
    "VideoWriter",
    "check_video_path",
    "content_of",
    "frame_count",
    "remove_abandoned",
    "resample_indices",
    "spread",
    "write_contact_sheet",
]
