"""Any picture Pillow opens becomes upright 8-bit RGB of a bounded size, and what is not a picture says so."""

import resource

import numpy as np
import pytest
from PIL import Image, ImageCms

from vasa.inference.portrait import BEHIND_TRANSPARENCY, WORK_PX, read_picture

RGB = np.stack(np.mgrid[:40, :60], -1).repeat(2, -1)[..., :3].astype(np.uint8) * 4


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    "name", ["a.png", "a.bmp", "a.tiff", "a.webp", "photo (1) é=фото,'q'.png", "-a.png", "a%d:b.png"]
)
def test_lossless_pictures_come_back_exactly_under_any_name(tmp_path, name):
    path = saved(
        tmp_path, Image.fromarray(RGB), name, **({"lossless": True} if name.endswith("webp") else {})
    )
    assert (read_picture(path) == RGB).all()


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, 3), (3, 2), (8, 1)])
def test_exif_orientation_is_applied(tmp_path, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(RGB), "a.png", exif=exif)
    assert (read_picture(path) == np.rot90(RGB, turns)).all()


def test_transparency_is_laid_over_grey(tmp_path):
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 255))
    image.paste((0, 255, 0, 0), (0, 0, 10, 20))
    picture = read_picture(saved(tmp_path, image, "a.png"))
    assert tuple(picture[5, 5]) == BEHIND_TRANSPARENCY
    assert tuple(picture[5, 15]) == (255, 0, 0)


def test_palettes_with_and_without_transparency(tmp_path):
    image = Image.fromarray(RGB).quantize(256)
    assert np.abs(read_picture(saved(tmp_path, image, "a.png")).astype(int) - RGB).mean() < 6
    transparent = Image.new("P", (20, 20), 1)
    transparent.putpalette([10, 20, 30, 200, 100, 50])
    transparent.paste(0, (0, 0, 10, 20))
    picture = read_picture(saved(tmp_path, transparent, "t.png", transparency=0))
    assert tuple(picture[0, 0]) == BEHIND_TRANSPARENCY
    assert tuple(picture[0, 19]) == (200, 100, 50)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_greys_keep_their_tones(tmp_path, mode):
    ramp = np.linspace(0, 1, 64)[None].repeat(32, 0)
    white = 1.0 if mode == "F" else 65535
    dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    path = saved(tmp_path, Image.fromarray((ramp * white).astype(dtype)), "a.tiff")
    assert np.abs(read_picture(path)[..., 1] - ramp * 255).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "1", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_other_mode_becomes_rgb(mode):
    picture = read_picture(
        Image.fromarray(RGB).convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", (60, 40))
    )
    assert picture.shape == (40, 60, 3)
    assert picture.dtype == np.uint8


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries have changed places: what a wide gamut does, but plain to
    see.
    """
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)
    }
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = (
        data[green + 4 : green + 12],
        data[red + 4 : red + 12],
    )
    return bytes(data)


def test_a_colour_profile_is_followed_and_a_broken_one_passed_over(tmp_path, caplog):
    image = Image.new("RGB", (20, 20), (200, 30, 30))
    turned = read_picture(saved(tmp_path, image, "a.png", icc_profile=swapped_profile()))
    np.testing.assert_allclose(turned[5, 5], (30, 200, 30), atol=4)
    kept = read_picture(saved(tmp_path, image, "b.png", icc_profile=b"not a profile"))
    assert tuple(kept[5, 5]) == (200, 30, 30)
    assert "colour profile" in caplog.text


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert tuple(read_picture(tmp_path / "a.gif")[5, 5]) == (255, 0, 0)


@pytest.mark.parametrize(("suffix", "width", "height"), [("jpg", 12_000, 8_400), ("png", 8_000, 5_600)])
def test_a_hundred_megapixels_take_bounded_memory(tmp_path, suffix, width, height):
    path = saved(tmp_path, Image.new("RGB", (width, height), (90, 120, 150)), f"a.{suffix}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    picture = read_picture(path)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert max(picture.shape) <= WORK_PX
    assert picture.shape[1] / picture.shape[0] == pytest.approx(width / height, rel=0.01)
    assert grown_mb < 4 * width * height / 1e6  # decoded once at most, never copied at full size


def test_large_turned_pictures_are_turned_after_being_made_smaller(tmp_path):
    image = Image.new("RGB", (5000, 100), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 2500, 100))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(saved(tmp_path, image, "a.png", exif=exif))
    assert picture.shape[0] > picture.shape[1]
    assert picture[0].mean() < 5 < 250 < picture[-1].mean()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda d: d / "none.png", FileNotFoundError, "none.png' does not exist"),
        (lambda d: d, FileNotFoundError, "is a folder"),
        (
            lambda d: (d / "a.png").write_text("hello") and d / "a.png",
            ValueError,
            "not a picture that Pillow can open",
        ),
        (lambda d: (d / "a.png").touch() or d / "a.png", ValueError, "not a picture"),
        (
            lambda d: saved(d, Image.new("RGB", (8, 40)), "a.png"),
            ValueError,
            "8x40 pixels; wanted at least 16x16",
        ),
    ],
)
def test_what_is_not_a_usable_picture_is_refused_in_one_sentence(tmp_path, make, error, words):
    with pytest.raises(error, match=words) as caught:
        read_picture(make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_cut_off_file_is_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="is damaged"):
        read_picture(path)


def test_arrays_must_be_8_bit_rgb():
    assert read_picture(RGB) is RGB
    with pytest.raises(ValueError, match=r"float64 \(40, 60\); wanted uint8"):
        read_picture(np.zeros((40, 60)))
