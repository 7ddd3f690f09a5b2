"""Image files and pairs folders: harmless modes are read right, everything else is one line that names the file."""

from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, features

from idekernels import InputError
from idemodel.files.images import (
    MAX_PIXELS,
    decode_colour,
    decode_grey,
    read_colour,
    read_grey,
    require_size,
    write_image,
)
from idemodel.files.pairs import images_by_stem, list_pairs

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (9, 7), dtype=np.uint8)
LUMA = np.array(Image.fromarray(COLOUR).convert("L"))


def assert_refused(path, says):
    for read in (read_grey, read_colour):
        with pytest.raises(InputError, match=says) as caught:
            read(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
def test_plain_files_are_read_as_they_are(tmp_path, suffix):
    for image, luma, colour in ((COLOUR, LUMA, COLOUR), (GREY, GREY, np.stack([GREY] * 3, axis=2))):
        path = tmp_path / f"image{suffix}"
        Image.fromarray(image).save(path)

        np.testing.assert_array_equal(read_grey(path), luma)
        np.testing.assert_array_equal(read_colour(path), colour)
        assert read_grey(path).dtype == read_colour(path).dtype == np.uint8
        assert read_grey(path).flags.writeable and read_colour(path).flags.c_contiguous


def test_the_content_of_a_file_is_read_as_the_file(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(COLOUR).convert("RGBA").save(path)

    np.testing.assert_array_equal(decode_colour(path.read_bytes(), "Ann"), read_colour(path))
    np.testing.assert_array_equal(decode_grey(path.read_bytes(), "Ann"), read_grey(path))
    for decode in (decode_grey, decode_colour):
        with pytest.raises(InputError, match=r"^Ann: not a readable PNG, .* \(cannot identify image file\)$"):
            decode(b"GIF89a", "Ann")


def test_sizes_that_differ_are_told():
    require_size(GREY, "a.png", (9, 7))
    with pytest.raises(InputError) as caught:
        require_size(COLOUR, "a.png", (7, 9), whose="its sketch", remedy="turn it")
    assert str(caught.value) == "a.png: is 9 x 7 (rows x columns), its sketch 7 x 9; turn it"


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_is_read_in_any_of_its_modes(tmp_path, mode):
    smooth = np.array(Image.fromarray(COLOUR).resize((64, 80), Image.Resampling.BICUBIC))
    path = tmp_path / "image.jpg"
    Image.fromarray(smooth).convert(mode).save(path, quality=95)
    grey = np.array(Image.fromarray(smooth).convert("L"), float)

    assert read_grey(path).shape == (80, 64) and read_colour(path).shape == (80, 64, 3)
    assert np.abs(read_grey(path) - grey).mean() < 4


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_become_eight_by_rounding(tmp_path, suffix):
    levels = np.array([[0, 128, 129, 257, 32767, 32768, 65406, 65407, 65535]], np.uint16)
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(levels).save(path)

    np.testing.assert_array_equal(read_grey(path), np.rint(levels / 257).astype(np.uint8))
    np.testing.assert_array_equal(read_colour(path)[..., 1], read_grey(path))


def test_big_endian_sixteen_bits(tmp_path):
    levels = np.array([[0, 257 * 7, 257 * 200, 65535]], np.uint16)
    path = tmp_path / "deep.tif"
    Image.frombytes("I;16B", (4, 1), levels.astype(">u2").tobytes()).save(path)
    assert read_grey(path).tolist() == [[0, 7, 200, 255]]


def png(width, height, depth, colour_type, rows, *extra):
    """A PNG made by hand, for what Pillow does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *(chunk(*part) for part in extra), chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def test_sixteen_bit_colour_is_read(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0, 257 * 10, 65535, 257 * 128, 0, 257)))
    assert np.abs(read_colour(path).astype(int) - [[[0, 10, 255], [128, 0, 1]]]).max() <= 1


def test_one_bit_is_black_and_white(tmp_path):
    path = tmp_path / "bits.png"
    Image.fromarray(GREY > 127).save(path)
    np.testing.assert_array_equal(read_grey(path), np.where(GREY > 127, 255, 0))


def test_a_palette_is_looked_up(tmp_path):
    image = Image.new("P", (7, 9))
    image.putdata((GREY % 4).ravel().tolist())
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 99, 200)]
    image.putpalette([level for colour in colours for level in colour])
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_colour(tmp_path / "palette.png"), np.array(colours, np.uint8)[GREY % 4])


def over_white(colour, alpha):
    return 255 + (colour.astype(float) - 255) * (alpha[..., None] / 255)


def test_transparency_is_laid_over_white(tmp_path):
    alpha = RNG.integers(0, 256, (9, 7), dtype=np.uint8)
    alpha[0], alpha[1] = 0, 255
    Image.fromarray(np.dstack([COLOUR, alpha])).save(tmp_path / "rgba.png")
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)]).save(tmp_path / "la.png")

    assert np.abs(read_colour(tmp_path / "rgba.png") - over_white(COLOUR, alpha)).max() <= 1
    assert np.abs(read_colour(tmp_path / "la.png") - over_white(np.dstack([GREY] * 3), alpha)).max() <= 1
    assert (read_grey(tmp_path / "rgba.png")[0] == 255).all()
    assert (read_grey(tmp_path / "la.png")[0] == 255).all() and (read_grey(tmp_path / "la.png")[1] == GREY[1]).all()


def test_transparent_colours_of_palettes_grey_and_rgb_become_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putdata([0, 1])
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.save(tmp_path / "palette.png", transparency=0)
    Image.fromarray(np.array([[7, 8]], np.uint8)).save(tmp_path / "grey.png", transparency=7)
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    rgb.save(tmp_path / "rgb.png", transparency=(1, 2, 3))

    assert read_colour(tmp_path / "palette.png").tolist() == [[[255] * 3, [40, 50, 60]]]
    assert read_grey(tmp_path / "grey.png").tolist() == [[255, 8]]
    assert read_colour(tmp_path / "rgb.png").tolist() == [[[255] * 3, [4, 5, 6]]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_turned_photo_is_turned_back(tmp_path, orientation, suffix):
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16], upright[8:, :16] = 250, 120
    turned = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(np.ascontiguousarray(turned)).save(path, exif=exif)

    found = read_grey(path)
    assert found.shape == (16, 32)
    assert np.abs(found.astype(int) - upright).max() <= 12


def frames():
    return [Image.fromarray(np.full((6, 5), level, np.uint8)) for level in (10, 200)]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_several_frames_are_refused(tmp_path, suffix):
    first, second = frames()
    first.save(tmp_path / f"two{suffix}", save_all=True, append_images=[second])
    assert_refused(tmp_path / f"two{suffix}", "holds several frames; save the one you mean")


def test_a_gifs_first_frame_is_read_whatever_it_is_called(tmp_path):
    first, second = frames()
    for name, more in (("still.gif", {}), ("moving.png", {"save_all": True, "append_images": [second]})):
        first.save(tmp_path / name, format="GIF", **more)
        np.testing.assert_array_equal(read_colour(tmp_path / name), np.asarray(first.convert("RGB")))


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
@pytest.mark.parametrize("name", ["a.webp", "b.jfif", "c.png", "d"])
def test_other_formats_are_read_under_any_name(tmp_path, kind, name):
    if not features.check(kind.lower()):
        pytest.skip(f"this Pillow has no {kind}")
    smooth = Image.fromarray(COLOUR).resize((64, 80), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / name, format=kind, quality=95)
    assert np.abs(read_colour(tmp_path / name).astype(int) - np.asarray(smooth)).mean() < 6


def test_a_webp_is_refused_by_its_frames_and_its_size_before_it_is_decoded(tmp_path):
    first, second = frames()
    first.save(tmp_path / "moving.webp", save_all=True, append_images=[second], lossless=True)
    assert_refused(tmp_path / "moving.webp", "holds several frames")
    large = (16383).to_bytes(3, "little") * 2
    (tmp_path / "large.webp").write_bytes(b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + large + bytes(40))
    assert_refused(tmp_path / "large.webp", "16384 x 16384 pixels are over the limit")


def test_a_format_whose_reader_starts_another_program_is_never_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: pytest.fail("another program was started"))
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    assert_refused(tmp_path / "a.png", "not a readable")


def test_a_format_that_this_pillow_lacks_is_named(tmp_path, monkeypatch):
    Image.fromarray(COLOUR).save(tmp_path / "a.webp")
    monkeypatch.setattr(Image, "OPEN", {name: how for name, how in Image.OPEN.items() if name != "WEBP"})
    assert_refused(tmp_path / "a.webp", "is WebP, which this Pillow does not read")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_without_its_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "phone.jpg").write_bytes(HEIC + bytes(100))
    assert_refused(tmp_path / "phone.jpg", r"is a HEIC picture; pip install 'idesketch\[heic\]'")


def test_heic_is_read_with_its_package(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    smooth = Image.fromarray(COLOUR).resize((64, 80), Image.Resampling.BICUBIC)
    pillow_heif.from_pillow(smooth).save(tmp_path / "phone.heic", quality=95)
    assert np.abs(read_colour(tmp_path / "phone.heic").astype(int) - np.asarray(smooth)).mean() < 6
    (tmp_path / "phone.heic").write_bytes(HEIC + bytes(100))
    assert_refused(tmp_path / "phone.heic", "not a readable")


def chunked(*extra, levels=GREY):
    """A grey PNG with extra chunks, each (name, data) or (name, data, checksum)."""

    def chunk(name, data, checksum=None):
        checksum = zlib.crc32(name + data) if checksum is None else checksum
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    rows = b"".join(b"\0" + row.astype(levels.dtype.newbyteorder(">")).tobytes() for row in levels)
    head = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 8 * levels.itemsize, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *(chunk(*each) for each in extra), chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "extra",
    [
        [(b"tEXt", b"Comment\0hello", 0)],
        [(b"zTXt", b"x\0\0" + zlib.compress(bytes(2**27)))],
        [(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**22)))],
        [(b"gAMA", b"")],
        [(b"eXIf", b"MM\0*garbage")],
        [(b"eXIf", b"no EXIF at all")],
        [(b"tIME", b"\0")],
        [(b"cHRM", b"\1")],
    ],
)
def test_strange_metadata_does_not_decide_whether_pixels_are_read(tmp_path, extra):
    (tmp_path / "a.png").write_bytes(chunked(*extra))
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), GREY)


def test_a_jpeg_with_strange_exif_data_is_read(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_colour(tmp_path / "a.jpg").shape == COLOUR.shape


TWELVE = np.array([[0, 16, 2048, 4095]], np.uint16)


def test_twelve_bits_that_the_file_tells_are_scaled(tmp_path, caplog):
    (tmp_path / "told.png").write_bytes(chunked((b"sBIT", b"\x0c"), levels=TWELVE))
    Image.fromarray(TWELVE).save(tmp_path / "told.tif", tiffinfo={281: 4095})
    for name in ("told.png", "told.tif"):
        assert read_grey(tmp_path / name).tolist() == [[0, 1, 128, 255]]
    assert not caplog.records


def test_twelve_bits_that_nothing_tells_are_scaled_and_named_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("idekernels.files.notices._told", set())
    for name in ("untold.png", "more.tif"):
        Image.fromarray(TWELVE).save(tmp_path / name)
        assert read_grey(tmp_path / name).tolist() == [[0, 1, 128, 255]]
    assert len(caplog.records) == 1 and "untold.png" in caplog.text and "12-bit" in caplog.text


def test_bits_that_are_spread_over_all_sixteen_are_not_scaled_again(tmp_path):
    full = np.array([[0, 257, 32896, 65535]], np.uint16)
    (tmp_path / "full.png").write_bytes(chunked((b"sBIT", b"\x0c"), levels=full))
    assert read_grey(tmp_path / "full.png").tolist() == [[0, 1, 128, 255]]


def test_nearly_black_colour_of_twelve_bits_is_named(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("idekernels.files.notices._told", set())
    (tmp_path / "dark.png").write_bytes(png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0, 4095, 9, 7, 0, 4000)))
    read_colour(tmp_path / "dark.png")
    assert "dark.png: is nearly black" in caplog.text


def test_an_error_names_no_object_in_memory(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    for read in (read_grey, lambda path: decode_grey(path.read_bytes(), str(path))):
        with pytest.raises(InputError) as caught:
            read(tmp_path / "a.png")
        assert "<" not in str(caught.value) and "(cannot identify image file)" in str(caught.value)


def test_formats_are_told_by_content_not_by_name(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "really.jpg", format="PNG")
    np.testing.assert_array_equal(read_grey(tmp_path / "really.jpg"), GREY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_truncated_files_are_refused(tmp_path, kind):
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(buffer, format=kind)
    whole, path = buffer.getvalue(), tmp_path / "image"
    for share in (0.002, 0.1, 0.5, 0.9):
        path.write_bytes(whole[: max(1, int(len(whole) * share))])
        assert_refused(path, "not a readable PNG, JPEG, BMP, TIFF, WebP, GIF, AVIF or HEIC image")


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("these are not\nthe pixels you are looking for")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "noise.png").write_bytes(RNG.bytes(3000))
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "float.tif")
    Image.fromarray(GREY.astype(np.int32)).save(tmp_path / "int.tif")

    for name in ("empty.png", "text.png", "noise.png"):
        assert_refused(tmp_path / name, "not a readable")
    assert_refused(tmp_path / "folder.png", "is a folder; wanted is an image")
    assert_refused(tmp_path / "missing.png", "no such file")
    assert_refused(tmp_path / "text.png" / "image.png", "not a readable|no such file")
    assert_refused(tmp_path / "float.tif", "has F pixels")
    assert_refused(tmp_path / "int.tif", "has I pixels")


@pytest.mark.parametrize(
    ("width", "height", "says"),
    [
        (8001, 8000, "8001 x 8000 pixels are over the limit of 64 million; scale it down first"),
        (20_000, 20_000, "exceeds limit of .* pixels"),  # here Pillow itself draws the line
        (2**31 - 1, 1, "exceeds limit"),
        (65_000, 65_000, "exceeds limit"),
    ],
)
def test_a_decompression_bomb_is_refused_unopened(tmp_path, width, height, says):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(width, height, 1, 0, bytes(100)))
    assert width * height > MAX_PIXELS
    assert_refused(path, says)


def test_a_bomb_in_the_metadata_is_refused_or_harmless(tmp_path):
    path = tmp_path / "text.png"
    bomb = b"comment\0\0" + zlib.compress(bytes(80_000_000))
    path.write_bytes(png(1, 1, 8, 0, b"\0\x07", (b"zTXt", bomb)))
    try:
        assert read_grey(path).tolist() == [[7]]
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_altered_files_are_read_or_refused_never_a_crash(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "described"
    buffer = io.BytesIO()
    options = {} if kind == "BMP" else {"exif": exif}
    Image.fromarray(RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(buffer, format=kind, **options)
    whole, path = buffer.getvalue(), tmp_path / "image"
    rng, refused = np.random.default_rng(1), 0
    for turn in range(400):
        altered = bytearray(whole)
        for _ in range(1 + turn % 3):
            altered[rng.integers(min(len(whole), 300 if turn % 2 else len(whole)))] = rng.integers(256)
        path.write_bytes(altered)
        try:
            assert read_colour(path).ndim == 3
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
    assert 0 < refused < 400


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    Image.fromarray(GREY).save(tmp_path / "image.png")
    monkeypatch.setattr(Image, "open", deny)
    assert_refused(tmp_path / "image.png", r"may not be read \(permission denied\)")


@pytest.mark.parametrize("image", [GREY, COLOUR, COLOUR[::-1, ::2], np.asfortranarray(GREY)])
def test_what_is_written_is_read_back(tmp_path, image):
    path = tmp_path / "out.jpeg"  # the content is PNG whatever the name: nothing is lost
    write_image(path, image)
    read = read_grey if image.ndim == 2 else read_colour

    np.testing.assert_array_equal(read(path), image)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["out.jpeg"]


def test_a_failed_write_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    write_image(path, GREY)

    def fail(self, target, **_):
        target.write_bytes(b"half a pict")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", fail)
        with pytest.raises(OSError, match="No space left"):
            write_image(path, 255 - GREY)
    np.testing.assert_array_equal(read_grey(path), GREY)
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize(
    ("image", "kind", "says"),
    [
        (GREY.astype(float), TypeError, "written from uint8, not float64"),
        (GREY > 1, TypeError, "written from uint8, not bool"),
        (GREY[0], ValueError, r"not \(7,\)"),
        (np.zeros((3, 3, 4), np.uint8), ValueError, r"not \(3, 3, 4\)"),
        (np.zeros((3, 3, 1), np.uint8), ValueError, r"not \(3, 3, 1\)"),
        (np.zeros((0, 3), np.uint8), ValueError, r"not \(0, 3\)"),
    ],
)
def test_only_bytes_in_image_shapes_are_written(tmp_path, image, kind, says):
    with pytest.raises(kind, match=says):
        write_image(tmp_path / "out.png", image)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder(tmp_path):
    for side in ("photo", "sketch"):
        (tmp_path / side).mkdir()
        for name in ("b.png", "a.JPG", "c.d.tiff"):
            (tmp_path / side / name).write_bytes(b"")
    return tmp_path


def test_pairs_are_listed_by_name_across_suffixes(folder):
    (folder / "sketch" / "a.JPG").rename(folder / "sketch" / "a.bmp")
    for stray in (".hidden.png", "notes.txt", "Thumbs.db", "a.gif"):
        (folder / "photo" / stray).write_bytes(b"")
    (folder / "photo" / "sub.png").mkdir()
    pairs = list_pairs(folder)

    assert [pair.name for pair in pairs] == ["a", "b", "c.d"]
    assert pairs[0].photo == folder / "photo" / "a.JPG" and pairs[0].sketch == folder / "sketch" / "a.bmp"


def test_images_without_a_twin_are_named(folder):
    (folder / "photo" / "b.png").unlink()
    for i in range(9):
        (folder / "sketch" / f"x{i}.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"without a twin in photo/ or sketch/: b, x0, .* and 2 more; add the twin"):
        list_pairs(folder)


def test_folders_that_are_no_pairs_are_refused(folder, tmp_path):
    (folder / "sketch" / "b.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"b\.png: has the same name as b\.jpg"):
        images_by_stem(folder / "sketch")
    (tmp_path / "none" / "photo").mkdir(parents=True)
    with pytest.raises(InputError, match="none/sketch: no such folder"):
        list_pairs(tmp_path / "none")
    (tmp_path / "none" / "sketch").mkdir()
    with pytest.raises(InputError, match="no images in photo/ and sketch/"):
        list_pairs(tmp_path / "none")
    with pytest.raises(InputError, match="no such folder"):
        images_by_stem(folder / "photo" / "b.png")


def test_the_student_pairs_can_be_listed_and_read(shared_data):
    for part in ("train", "test"):
        if (shared_data / part).is_dir():
            pair = list_pairs(shared_data / part)[0]
            assert read_grey(pair.photo).shape == read_grey(pair.sketch).shape == (250, 200)
