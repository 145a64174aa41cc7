"""Reading a portrait: any picture Pillow opens becomes upright 8-bit RGB of a bounded size.

Knows nothing of faces. Its errors name the file and the cure, since this is where a user's own file arrives.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

log = logging.getLogger(__name__)

WORK_PX = 4096
"""Longest side kept. A face fills hundreds of pixels of that; without a bound a 100-megapixel picture would
fill memory.
"""
MIN_PX = 16
BEHIND_TRANSPARENCY = (128, 128, 128)


def read_picture(image: str | Path | Image.Image | np.ndarray) -> np.ndarray:
    """A picture as uint8 (H, W, 3) RGB, upright (EXIF), transparency over mid grey, the first frame of an
    animation.

    image: a path, a Pillow picture, or uint8 (H, W, 3) RGB, which is returned as it is.
    Raises: FileNotFoundError, ValueError.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image array is {image.dtype} {image.shape}; wanted uint8 (H, W, 3) RGB.")
        return _large_enough(image, "image array")
    if isinstance(image, Image.Image):
        return _large_enough(_upright_rgb(image), "image")
    path = Path(image)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"image {str(path)!r} {what}; give the path of a picture file.")
    try:
        with warnings.catch_warnings():  # what it warns of is what the bounds here are for
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return _large_enough(_upright_rgb(picture), f"image {str(path)!r}")
    except UnidentifiedImageError as error:
        raise ValueError(
            f"image {str(path)!r} is not a picture that Pillow can open; give a JPEG, PNG, WebP or similar."
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"image {str(path)!r} has more pixels than can be opened ({error}); make it smaller first."
        ) from error
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(
            f"image {str(path)!r} is damaged ({error}); save it again or give another."
        ) from error


def _large_enough(array: np.ndarray, name: str) -> np.ndarray:
    height, width = array.shape[:2]
    if min(height, width) < MIN_PX:
        raise ValueError(f"{name} is {width}x{height} pixels; wanted at least {MIN_PX}x{MIN_PX}.")
    return array


def _upright_rgb(picture: Image.Image) -> np.ndarray:
    picture.draft(
        "RGB", (WORK_PX, WORK_PX)
    )  # a JPEG decoder can halve the size while decoding; others ignore this
    picture.load()
    if max(picture.size) > WORK_PX:
        if picture.mode in ("P", "PA", "1"):
            picture = picture.convert(
                "RGBA" if "transparency" in picture.info or picture.mode == "PA" else "RGB"
            )
        picture = _with_info(picture.reduce(-(-max(picture.size) // WORK_PX)), picture)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        return _from_deep(picture)
    picture = _in_srgb(picture)
    if picture.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (*BEHIND_TRANSPARENCY, 255)), picture)
    return np.asarray(picture.convert("RGB"))


def _with_info(picture: Image.Image, original: Image.Image) -> Image.Image:
    """Carries the orientation over, which ``reduce`` drops."""
    picture.info.update(original.info)
    picture.getexif().update(original.getexif())
    return picture


def _in_srgb(picture: Image.Image) -> Image.Image:
    """A picture that says what its colours mean (a phone's wide gamut, a printer's inks), as a screen's.

    A profile that cannot be used is passed over: slightly pale colours are better than no video.
    """
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK"):
        return picture
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        log.warning(
            "The picture's colour profile cannot be used (%s); its numbers are taken as they are.", error
        )
        return picture
    return converted or picture


def _from_deep(picture: Image.Image) -> np.ndarray:
    """Grey pictures of 16 or 32 bits or of floats: the range they use decides which white is meant."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float32))
    top = float(values.max())
    white = next((w for w in (1.0, 255.0, 65535.0) if top <= w), top) if picture.mode == "F" else 65535.0
    grey = (values.clip(0, white) * (255 / white) + 0.5).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
