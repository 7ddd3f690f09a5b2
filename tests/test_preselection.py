"""Preselection: descriptions and where they are kept, who is chosen, and what is then found in the chosen alone."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from bank_files import a_bank_in, assert_refused, content, some_pairs
from commands import call, told_once

import idekernels
from idekernels import (
    BankSettings,
    CoarseSettings,
    JoinedBank,
    MemoryBank,
    PatchBank,
    coarse_sketch,
    match,
    open_bank,
    prepare,
    verify,
    write_bank,
)
from idekernels.backends.cuda import device as devices
from idekernels.backends.reference import WHOLE
from idekernels.bank import SelectedBank
from idekernels.bank.description import VERSION, describe
from idekernels.bank.header import description_digest
from idekernels.preselection import Preselection, _nearest
from idekernels.results import Candidates
from idemodel.files.images import read_colour, read_grey, write_image
from idemodel.generator.checkpoint import save_generator
from idemodel.generator.network import MLANet
from idemodel.phantom import phantom_pairs
from idemodel.sketcher import Sketcher
from tests.emulator import host
from tests.emulator.device import EmulatedDevice

FIELDS = ("image", "row", "column", "distance")
HOW = BankSettings(8, 4, 2, ("intensity", "gradient"), (2, 1))
NOBODY = np.full((3, 1), -1)


@pytest.fixture(scope="module")
def bank() -> MemoryBank:
    """Forty faces of 64 x 48 pixels."""
    pairs = list(phantom_pairs(40, height=64, width=48, seed=5))
    return MemoryBank.from_images([p.photo for p in pairs], [p.sketch for p in pairs], settings=HOW)


@pytest.fixture(scope="module")
def query(bank: PatchBank) -> Any:
    """Three photos that are not in it."""
    return np.stack([bank.query(pair.photo) for pair in phantom_pairs(3, height=64, width=48, seed=6)])


@pytest.fixture
def device() -> Iterator[EmulatedDevice]:
    if why := host.why_missing():
        pytest.skip(why)
    with devices.use(EmulatedDevice()) as made:
        yield made


def test_a_cell_is_the_mean_of_its_pixels_a_half_rounded_up() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, 2, 250, 200), dtype=np.uint8)
    means = planes.reshape(3, 2, 25, 10, 20, 10).mean(axis=(3, 5))
    np.testing.assert_array_equal(describe(planes), np.floor(means + 0.5))


def test_cells_of_any_size_cover_every_pixel_once() -> None:
    planes = np.random.default_rng(0).integers(0, 256, (1, 1, 61, 33), dtype=np.uint8)
    down, across = ([length * i // cells for i in range(cells + 1)] for length, cells in ((61, 25), (33, 20)))
    for row in range(25):
        for column in range(20):
            cell = planes[0, 0, down[row] : down[row + 1], across[column] : across[column + 1]].astype(int)
            assert describe(planes)[0, 0, row, column] == (2 * cell.sum() + cell.size) // (2 * cell.size)
    assert describe(planes[:, :, :7, :5]).tolist() == planes[:, :, :7, :5].tolist()  # too small for cells of several


def test_descriptions_have_the_same_bytes_everywhere() -> None:
    """Of these pixels; another digest means another description, which needs another VERSION."""
    planes = (np.arange(2 * 2 * 250 * 200, dtype=np.uint64) ** 2 % 251).astype(np.uint8).reshape(2, 2, 250, 200)
    assert (VERSION, hashlib.sha256(describe(planes).tobytes()).hexdigest()[:16]) == (1, "bc3d278aa22c87e4")


def without_descriptions(path: Path) -> None:
    """Make of a bank what older versions wrote."""
    with h5py.File(path, "a", libver="latest") as file:
        del file["descriptions"], file.attrs["description_version"], file.attrs["description_digest"]


def redescribed(path: Path, version: int, change: int) -> None:
    """Put other descriptions into a bank's file, with checksum and digest that fit them."""
    with h5py.File(path, "a", libver="latest") as file:
        other = file["descriptions"][()] ^ np.uint8(change)
        del file["descriptions"]
        file.create_dataset("descriptions", data=other, chunks=other.shape, fletcher32=True)
        file.attrs["description_version"] = version
        file.attrs["description_digest"] = description_digest(version, other, file.attrs["digest"])


def test_a_bank_file_holds_the_descriptions_of_its_images(tmp_path: Path) -> None:
    path = a_bank_in(tmp_path)
    with open_bank(path) as bank, h5py.File(path, locking=False) as file:
        np.testing.assert_array_equal(file["descriptions"], describe(bank.source(0, 6)))
        np.testing.assert_array_equal(bank.descriptions(), file["descriptions"])
        assert file.attrs["description_version"] == VERSION and file["descriptions"].fletcher32


def test_what_an_older_bank_lacks_is_computed_and_its_file_stays_as_it_is(tmp_path: Path) -> None:
    path = a_bank_in(tmp_path)
    with open_bank(path) as bank:
        new, said = bank.descriptions(), content(bank)
    without_descriptions(path)
    before = path.read_bytes()
    with open_bank(path) as bank:
        np.testing.assert_array_equal(bank.descriptions(), new)
        assert content(bank) == said
    verify(path)
    assert path.read_bytes() == before


def test_descriptions_of_another_version_are_computed_anew(tmp_path: Path) -> None:
    path = a_bank_in(tmp_path)
    redescribed(path, VERSION + 1, 1)
    with open_bank(path) as bank:
        np.testing.assert_array_equal(bank.descriptions(), describe(bank.source(0, 6)))
    verify(path)


def test_altered_descriptions_are_refused(tmp_path: Path) -> None:
    path = a_bank_in(tmp_path)
    with h5py.File(path, "a") as file:
        file["descriptions"][2] ^= 1
    assert_refused(path, "the faces' descriptions were altered; build the bank anew")


def test_verify_holds_descriptions_against_the_images(tmp_path: Path) -> None:
    path = a_bank_in(tmp_path)
    redescribed(path, VERSION, 1)
    open_bank(path).close()
    with pytest.raises(idekernels.BankError, match=r"6 of 6 pairs are damaged \(pair-0"):
        verify(path)


def test_a_link_in_place_of_descriptions_is_not_followed(tmp_path: Path) -> None:
    path = a_bank_in(tmp_path)
    with h5py.File(path, "a", libver="latest") as file:
        del file["descriptions"]
        file["descriptions"] = h5py.ExternalLink("elsewhere.h5", "descriptions")
    assert_refused(path, "damaged .*no descriptions in the file itself")


def test_joined_and_selected_banks_describe_as_the_files_do(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        pairs = [(f"{name}{number}", photo, sketch) for number, (_, photo, sketch) in enumerate(some_pairs(seed))]
        write_bank(tmp_path / f"{name}.h5", pairs)
    with open_bank(tmp_path / "a.h5", tmp_path / "b.h5") as joined:
        assert isinstance(joined, JoinedBank)
        np.testing.assert_array_equal(joined.descriptions(), describe(joined.source(0, 12)))
        some = SelectedBank(joined, np.array([0, 1, 5, 6, 11]))
        np.testing.assert_array_equal(some.descriptions(), describe(some.source(0, 5)))


@pytest.mark.parametrize("numbers", [[], [3, 2], [1, 1], [-1, 2], [0, 40]])
def test_only_pairs_of_the_bank_can_be_selected(bank: PatchBank, numbers: list[int]) -> None:
    with pytest.raises(ValueError, match=r"chosen|choose"):
        SelectedBank(bank, np.array(numbers, np.int64))


def test_a_selected_bank_reads_its_pairs_in_order(bank: PatchBank) -> None:
    chosen = np.array([1, 2, 3, 7, 39])
    some = pickle.loads(pickle.dumps(SelectedBank(bank, chosen)))
    for start, stop in ((0, 5), (1, 4), (4, 5)):
        np.testing.assert_array_equal(some.source(start, stop), bank.source(0, 40)[chosen[start:stop]])
        np.testing.assert_array_equal(some.target(start, stop), bank.target(0, 40)[chosen[start:stop]])
    assert some.names == tuple(bank.names[number] for number in chosen)


def elected(bank: PatchBank, planes: Any, count: int) -> list[int]:
    """The election written down plainly: region by region, then seat by seat."""
    bank_cells, seen = describe(bank.source(0, bank.images)).astype(int), describe(planes[None])[0].astype(int)
    names, named = max(min(8, count), count // 4), []
    _, _, rows, columns = bank_cells.shape
    for row in range(rows - 1):
        for column in range(columns - 1):
            part = (slice(None), slice(row, row + 2), slice(column, column + 2))
            squares = (bank_cells[(slice(None), *part)] - seen[part]) ** 2
            apart = (squares.sum(axis=(2, 3)) * np.array(bank.weights)).sum(axis=1)
            named.append(set(sorted(range(bank.images), key=lambda image: (apart[image], image))[:names]))
    return sorted(seats(named, list(range(bank.images)), count))


def seats(named: list[set[int]], standing: list[int], count: int) -> list[int]:
    chosen: list[int] = []
    for _ in range(count):
        counts = [WHOLE // (1 + len(faces & set(chosen))) for faces in named]

        def support(face: int, counts: list[int] = counts) -> int:
            return sum(vote for vote, faces in zip(counts, named, strict=True) if face in faces)

        chosen.append(max((face for face in standing if face not in chosen), key=lambda face: (support(face), -face)))
    return chosen


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_seats_are_given_one_by_one_and_no_region_is_left_without(backend: str) -> None:
    """Nine regions name the faces 0 to 4, three name 5 to 9: of four seats one is theirs."""
    voters = np.array([[0, 1, 2, 3, 4]] * 9 + [[5, 6, 7, 8, 9]] * 3)
    kernels = idekernels.backends.load(backend)
    assert kernels.elect(voters, np.ones(12, np.bool_), 4).tolist() == [0, 1, 2, 5]
    standing = np.ones(12, np.bool_)
    standing[[0, 5, 6, 7, 8, 9, 10]] = False
    assert kernels.elect(voters, standing, 5).tolist() == [1, 2, 3, 4, 11]  # the last, whom nobody names


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_elections_of_any_size_are_those_written_down_plainly(backend: str) -> None:
    random = np.random.default_rng(3)
    for faces, regions, names, count in ((30, 12, 4, 9), (25, 40, 8, 24), (9, 1, 3, 5)):
        voters = np.stack([random.permutation(faces)[:names] for _ in range(regions)])
        standing = np.ones(faces, np.bool_)
        standing[voters[0, 0]] = False
        truth = sorted(seats([set(row) for row in voters.tolist()], np.flatnonzero(standing).tolist(), count))
        assert idekernels.backends.load(backend).elect(voters, standing, count).tolist() == truth


def test_of_faces_that_are_equally_near_the_first_are_named() -> None:
    random = np.random.default_rng(0)
    for levels in (2, 20, 10**6):
        apart = random.integers(0, levels, (7, 50))
        for count in (1, 5, 49, 50):
            truth = [sorted(sorted(range(50), key=lambda face: (row[face], face))[:count]) for row in apart]
            assert _nearest(apart, count, np).tolist() == truth


@pytest.mark.parametrize("count", [1, 6, 20])
def test_the_faces_that_a_photo_s_regions_elect_are_chosen(bank: PatchBank, query: Any, count: int) -> None:
    chosen = Preselection(bank, count, idekernels.backends.load("cpu")).chosen(query, NOBODY)
    assert [list(images) for images in chosen if images is not None] == [elected(bank, p, count) for p in query]


def test_a_photo_of_the_bank_finds_itself(bank: PatchBank) -> None:
    own = bank.source(0, 40)
    chosen = Preselection(bank, 1, idekernels.backends.load("cpu")).chosen(own, np.full((40, 1), -1))
    assert [int(images[0]) for images in chosen if images is not None] == list(range(40))


def test_barred_faces_are_as_if_they_were_not_there(bank: PatchBank, query: Any) -> None:
    cpu = idekernels.backends.load("cpu")
    first = Preselection(bank, 8, cpu).chosen(query, NOBODY)[0]
    barred = first[2:5]
    left = np.setdiff1d(np.arange(40), barred)
    without = Preselection(SelectedBank(bank, left), 8, cpu).chosen(query[:1], NOBODY[:1])[0]
    found = Preselection(bank, 8, cpu).chosen(query[:1], barred[None])[0]
    np.testing.assert_array_equal(found, left[without])
    assert not set(found) & set(barred)


def alone(bank: PatchBank, query: Any, count: int, **options: Any) -> Candidates:
    """What a bank that holds only a photo's chosen faces gives, with the whole bank's image numbers."""
    parts = []
    for photo, images in enumerate(elected(bank, planes, count) for planes in query):
        found = match(query[photo : photo + 1], SelectedBank(bank, np.array(images)), backend="reference", **options)
        parts.append((np.array(images)[found.image], found.row, found.column, found.distance))
    return Candidates(*(np.concatenate(part) for part in zip(*parts, strict=True)))


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_candidates_are_those_of_a_bank_of_the_chosen_faces(
    bank: PatchBank, query: Any, backend: str, memory: int | None
) -> None:
    truth = alone(bank, query, 9, k=5)
    found = match(query, prepare(bank, backend, memory, preselect=9), k=5)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(truth, name).dtype or name == "image"


@pytest.mark.parametrize("memory", [None, 0])
def test_the_device_chooses_and_finds_the_same(
    device: EmulatedDevice, bank: PatchBank, query: Any, memory: int | None
) -> None:
    truth = match(query, prepare(bank, "cpu", preselect=9), k=5)
    found = match(query, prepare(bank, "cuda", memory, preselect=9), k=5).host()
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)


def test_a_file_bank_and_joined_banks_find_what_the_bank_in_memory_finds(
    bank: PatchBank, query: Any, tmp_path: Path
) -> None:
    drawn = list(phantom_pairs(40, height=64, width=48, seed=5))
    for name, part in (("a", range(25)), ("b", range(25, 40))):
        write_bank(tmp_path / f"{name}.h5", ((bank.names[i], drawn[i].photo, drawn[i].sketch) for i in part), HOW)
    truth = match(query, prepare(bank, "cpu", preselect=7), k=4)
    with open_bank(tmp_path / "a.h5", tmp_path / "b.h5") as joined:
        for memory in (None, 0):
            found = match(query, prepare(joined, "cpu", memory, preselect=7), k=4)
            for name in FIELDS:
                np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)


def test_a_buffer_that_another_photo_filled_holds_nothing_of_it(bank: PatchBank, query: Any) -> None:
    """The last block's lanes past the last image are zero again, and threads that search at once have their own."""
    ready = prepare(bank, "cpu", preselect=36)
    many, few = (np.arange(count) for count in (36, 3))
    for images in (many, few, many):
        ((first, count, blocks),) = ready.handle.selected(images).blocks()
        laid = np.moveaxis(blocks, 4, 1).reshape(-1, *bank.source(0, 1).shape[1:])
        assert (first, count) == (0, len(images)) and not laid[count:].any()
        np.testing.assert_array_equal(laid[:count], bank.source(0, 40)[images])
    truth = [match(query[[photo]], ready, k=5).image for photo in range(3)]
    with ThreadPoolExecutor(3) as threads:
        for _ in range(5):
            found = threads.map(lambda photo: match(query[[photo]], ready, k=5).image, range(3))
            for one, other in zip(found, truth, strict=True):
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("count", [40, 41, 10**6])
def test_as_many_as_there_are_is_the_exact_search(bank: PatchBank, query: Any, count: int) -> None:
    exact, found = (match(query, prepare(bank, "cpu", preselect=n), k=5) for n in (None, count))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(found, name), getattr(exact, name))


def test_photos_of_a_batch_may_bar_different_faces(bank: PatchBank, query: Any) -> None:
    """One bars so many that all that are left are searched; the others choose."""
    exclude = np.full((3, 31), -1)
    exclude[0], exclude[1, :1] = range(31), 4
    found = match(query, prepare(bank, "cpu", preselect=9), k=5, exclude=exclude)
    for photo in range(3):
        one = match(query[[photo]], prepare(bank, "cpu", preselect=9), k=5, exclude=exclude[[photo]])
        np.testing.assert_array_equal(found.image[photo], one.image[0])
    assert found.image[0].min() >= 31 and not (found.image[1] == 4).any()
    exact = match(query[:1], bank, k=5, exclude=exclude[:1], backend="cpu")
    np.testing.assert_array_equal(found.distance[:1], exact.distance)


def test_shards_with_few_positions_end_their_lists(bank: PatchBank, query: Any) -> None:
    found = match(query, prepare(bank, "cpu", preselect=1), k=20, partial=True)
    missing = found.distance == 2**32 - 1
    assert missing.any() and (found.image[missing] == -1).all() and (found.image[~missing] >= 0).all()


def test_a_prepared_bank_is_sent_to_another_process_with_its_preselection(bank: PatchBank, query: Any) -> None:
    ready = prepare(bank, "cpu", preselect=9)
    truth = match(query, ready, k=5)
    again = pickle.loads(pickle.dumps(ready))
    assert again.most_searched == 9
    np.testing.assert_array_equal(match(query, again, k=5).image, truth.image)


def test_too_few_faces_for_k_are_refused(bank: PatchBank, query: Any) -> None:
    with pytest.raises(ValueError, match=r"positions in 1 images .*more preselected images"):
        match(query, prepare(bank, "cpu", preselect=1), k=20)
    with pytest.raises(ValueError, match="preselect must be 1 or more"):
        prepare(bank, "cpu", preselect=0)


def test_a_coarse_sketch_uses_the_chosen_faces_alone(bank: PatchBank) -> None:
    photo = next(phantom_pairs(1, height=64, width=48, seed=6)).photo
    chosen = np.array(elected(bank, bank.query(photo), 9))
    settings = CoarseSettings(k=5)
    found = coarse_sketch(photo, prepare(bank, "cpu", preselect=9), settings)
    alone = coarse_sketch(photo, SelectedBank(bank, chosen), settings, backend="cpu")
    np.testing.assert_array_equal(found.pixels, alone.pixels)


def test_a_sketcher_that_is_given_a_prepared_bank_takes_no_preselection(bank: PatchBank) -> None:
    with pytest.raises(ValueError, match="preselect is given, but the bank is prepared already"):
        Sketcher(prepare(bank, "cpu"), preselect=3)


def test_the_command_searches_the_nearest_and_notes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--size", "64x48")
    assert call("data", "phantom", tmp_path / "pairs", "--pairs", 12, "--seed", 5, *small) == 0
    assert call("data", "phantom", tmp_path / "new", "--pairs", 2, "--seed", 6, *small) == 0
    assert call("bank", "build", tmp_path / "pairs", tmp_path / "bank.h5") == 0
    photos, out = tmp_path / "new" / "photo", tmp_path / "out"
    usual = ("coarse", tmp_path / "bank.h5", photos, "-o", out, "--align", "never", "--normalise", "none")
    assert call(*usual, "--preselect", 4) == 0
    told = capsys.readouterr()
    assert "12 pairs, the 4 nearest searched" in told.err and "2 made" in told.out
    assert call(*usual, "--preselect", 4) == 0
    assert "0 made, 2 there already" in capsys.readouterr().out
    assert call(*usual) == 0
    assert "2 there but made otherwise" in capsys.readouterr().out
    assert "more preselected images" in told_once(capsys, *usual, "--overwrite", "--preselect", 1, "--k", 200)


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("command", ["sketch", "synth"])
def test_whole_sketches_are_made_of_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    drawn = list(phantom_pairs(12, height=64, width=48, seed=5))
    path, model, photo = tmp_path / "bank.h5", tmp_path / "model.safetensors", tmp_path / "stranger.png"
    write_bank(path, ((pair.name, pair.photo, pair.sketch) for pair in drawn), BankSettings(8, 4, 2))
    save_generator(model, MLANet(1, 4, 1))
    write_image(photo, next(phantom_pairs(1, height=64, width=48, seed=6)).photo)
    given = (path, model, photo) if command == "synth" else (photo, "--bank", path, "--model", model)
    usual = (command, *given, "-o", tmp_path / "out", "--align", "never", "--normalise", "none")
    assert call(*usual, "--preselect", 4) == 0
    told = capsys.readouterr()
    assert "12 pairs, the 4 nearest searched" in told.err and "1 made" in told.out
    with open_bank(path) as bank, Sketcher(bank, model, preselect=4, device="cpu") as sketcher:
        assert sketcher.prepared.most_searched == 4
        made = sketcher.sketch(read_colour(photo)).images()[0]
    np.testing.assert_array_equal(read_grey(tmp_path / "out" / "stranger.png"), made)
    assert call(*usual) == 0
    assert "1 there but made otherwise" in capsys.readouterr().out
