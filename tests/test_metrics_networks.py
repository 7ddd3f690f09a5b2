"""LPIPS and FID with random weights: the real architectures, safe reading, and distances against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from test_metrics_all import smooth_image

from idekernels.errors import InputError
from idemodel.metrics import frechet_distance, load_inception, load_lpips

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402
from torch.nn import functional  # noqa: E402

ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
VGG = {
    0: (64, 3, 3), 2: (64, 64, 3), 5: (128, 64, 3), 7: (128, 128, 3), 10: (256, 128, 3), 12: (256, 256, 3),
    14: (256, 256, 3), 17: (512, 256, 3), 19: (512, 512, 3), 21: (512, 512, 3), 24: (512, 512, 3), 26: (512, 512, 3),
    28: (512, 512, 3),
}  # fmt: skip
HEADS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def lpips_tensors(kind):
    """Random weights under torchvision's and LPIPS's names, scaled so that features stay of one size."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for index, (width, before, kernel) in {"alex": ALEX, "vgg": VGG}[kind].items():
        shape = (width, before, kernel, kernel)
        tensors[f"features.{index}.weight"] = (
            torch.randn(shape, generator=generator) * (2 / (before * kernel**2)) ** 0.5
        )
        tensors[f"features.{index}.bias"] = 0.1 * torch.randn(width, generator=generator)
    for layer, width in enumerate(HEADS[kind]):
        tensors[f"lin{layer}.model.1.weight"] = torch.rand((1, width, 1, 1), generator=generator)
    return tensors


@pytest.fixture(scope="module")
def lpips_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lpips")
    torch.save(lpips_tensors("alex") | {"classifier.6.bias": torch.zeros(1000)}, folder / "alex.pth")
    save_file({name: value.half() for name, value in lpips_tensors("vgg").items()}, folder / "vgg.safetensors")
    return {"alex": folder / "alex.pth", "vgg": folder / "vgg.safetensors"}


def naive_lpips(tensors, first, second):
    """AlexNet's LPIPS written out layer by layer."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    distance = 0.0
    pair = []
    for image in (first, second):
        x = torch.from_numpy(image).float().expand(3, -1, -1) / 255 * 2 - 1
        x = ((x - shift[:, None, None]) / scale[:, None, None])[None]
        layers = []
        for index, (stride, padding) in {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}.items():
            if index in (3, 6):
                x = functional.max_pool2d(x, 3, 2)
            weight, bias = tensors[f"features.{index}.weight"], tensors[f"features.{index}.bias"]
            x = torch.relu(functional.conv2d(x, weight, bias, stride, padding))
            layers.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))
        pair.append(layers)
    for layer, (a, b) in enumerate(zip(*pair, strict=True)):
        distance += functional.conv2d((a - b) ** 2, tensors[f"lin{layer}.model.1.weight"]).mean().item()
    return distance


def test_lpips_of_alexnet_equals_its_definition(lpips_files):
    first, second = smooth_image(1, (70, 61)), smooth_image(2, (70, 61))

    comp = load_lpips(lpips_files["alex"])(first, second)

    assert comp == pytest.approx(naive_lpips(lpips_tensors("alex"), first, second), rel=1e-4)


@pytest.mark.parametrize("kind", ["alex", "vgg"])
def test_lpips_is_a_distance(lpips_files, kind):
    lpips = load_lpips(str(lpips_files[kind]))
    first, second, flat = smooth_image(1, (32, 40)), smooth_image(2, (32, 40)), np.zeros((32, 40), np.uint8)

    assert lpips(first, first) == lpips(flat, flat) == 0.0
    assert lpips(first, second) == pytest.approx(lpips(second, first), rel=1e-5)
    near = np.uint8(0.9 * first + 0.1 * second)
    assert 0.0 < lpips(near, first) < lpips(second, first)
    with pytest.raises(ValueError, match="at least 32 x 32"):
        lpips(first[:31], second[:31])


@pytest.mark.parametrize(("kind", "count"), [("alex", 2_469_696), ("vgg", 14_714_688)])
def test_lpips_backbones_have_torchvisions_number_of_parameters(kind, count):
    convolutions = {"alex": ALEX, "vgg": VGG}[kind].values()

    assert sum(width * before * kernel**2 + width for width, before, kernel in convolutions) == count


def test_lpips_wants_its_file_in_words(tmp_path, lpips_files):
    tensors = lpips_tensors("alex")
    cases = {
        "missing.pth": None,
        "no-head.pth": {name: value for name, value in tensors.items() if not name.startswith("lin3")},
        "odd-head.pth": tensors | {"lin2.model.1.weight": torch.ones(1, 7, 1, 1)},
        "resnet.pth": {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)},
        "nested.pth": {"state_dict": tensors},
    }
    messages = {
        "missing.pth": "no such file",
        "no-head.pth": "has no lin3.model.1.weight",
        "odd-head.pth": "lin2.model.1.weight is 1 x 7 x 1 x 1 where 1 x 384 x 1 x 1 is expected",
        "resnet.pth": "features.0.weight is missing",
        "nested.pth": "no plain mapping",
    }
    for name, content in cases.items():
        if content is not None:
            torch.save(content, tmp_path / name)
        with pytest.raises(InputError, match=rf"{name}: .*{messages[name]}.*; wanted is one .safetensors or .pth file"):
            load_lpips(tmp_path / name)


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not tensors at all", b"\x80\x02." * 50])
def test_broken_weights_are_refused_in_words(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=rf"{name}: not a readable (weights|safetensors) file"):
        load_lpips(tmp_path / name)
    with pytest.raises(InputError, match="is a folder"):
        load_lpips(tmp_path)


def test_weights_with_code_in_them_are_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trapped"), "w"))

    torch.save({"features.0.weight": Trap()}, tmp_path / "trap.pth")

    with pytest.raises(InputError, match=r"trap\.pth: not a readable (weights|safetensors) file"):
        load_lpips(tmp_path / "trap.pth")
    assert not (tmp_path / "trapped").exists()


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    from idemodel.metrics.inception import Inception

    generator = torch.Generator().manual_seed(2)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Inception().state_dict().items() if "num_batches" not in name}
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("conv.weight"):
            tensors[name] = (torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5).half()
        else:
            fill = 1.0 if name.endswith(("running_var", "bn.weight")) else 0.0
            tensors[name] = torch.full(shape, fill, dtype=torch.half)
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    save_file(tensors | {"fc.weight": torch.zeros(1008, 2048, dtype=torch.half)}, path)
    return path


def test_inception_has_the_size_and_names_of_torchvisions():
    """27,161,264 parameters of torchvision's inception_v3 less 2,049,000 (fc) and 3,326,696 (AuxLogits)."""
    from idemodel.metrics.inception import Inception

    with torch.device("meta"):
        network = Inception()
    names = network.state_dict().keys()

    assert sum(value.numel() for value in network.parameters()) == 27_161_264 - 2_049_000 - 3_326_696
    assert {
        "Conv2d_1a_3x3.conv.weight",
        "Mixed_6e.branch7x7dbl_5.bn.running_var",
        "Mixed_7c.branch_pool.bn.bias",
    } < names
    assert network.state_dict()["Mixed_6b.branch7x7_2.conv.weight"].shape == (128, 128, 1, 7)


def test_inception_gives_2048_features_that_depend_on_the_image(inception_file):
    features = load_inception(inception_file)

    first, second = features(smooth_image(1)), features(smooth_image(2))

    assert first.shape == (2048,) and first.dtype == np.float64
    assert np.isfinite(first).all() and first.std() > 0.01
    assert np.abs(first - second).max() > 0.01


def test_inception_wants_its_file_in_words(tmp_path, lpips_files):
    with pytest.raises(InputError, match=r"alex\.pth: has no Conv2d_1a_3x3\.conv\.weight; wanted is pytorch-fid's"):
        load_inception(lpips_files["alex"])


def test_frechet_distance_in_one_dimension_in_closed_form():
    first, second = np.array([[0.0], [2.0], [4.0]]), np.array([[10.0], [11.0]])

    comp = frechet_distance(first, second)

    assert comp == pytest.approx((2.0 - 10.5) ** 2 + (np.std([0, 2, 4], ddof=1) - np.std([10, 11], ddof=1)) ** 2)


@pytest.mark.parametrize(("count", "dimensions"), [(60, 8), (500, 20)])
def test_frechet_distance_equals_the_matrix_square_root(count, dimensions):
    random = np.random.default_rng(count)
    first = random.normal(size=(count, dimensions)) @ random.normal(size=(dimensions, dimensions)) + 1.0
    second = random.normal(size=(count - 7, dimensions))
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    means = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    ref = means + np.trace(covariances[0] + covariances[1] - 2 * root)

    assert frechet_distance(first, second) == pytest.approx(ref, rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(ref, rel=1e-8)


def test_frechet_distance_of_fewer_images_than_features():
    random = np.random.default_rng(3)
    few = random.normal(size=(5, 300))

    assert frechet_distance(few, few[::-1]) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(few + 2.0, few) == pytest.approx(300 * 4.0, rel=1e-9)


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros(3), np.zeros((4, 2)), np.full((4, 3), np.nan)])
def test_frechet_distance_refuses_what_it_cannot_compare(bad):
    with pytest.raises(ValueError, match="fid: "):
        frechet_distance(bad, np.zeros((4, 3)))
