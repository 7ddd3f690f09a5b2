"""Evaluation: pairing, refusals, decided cases, files, and figures that no number of workers changes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from test_metrics_all import smooth_image
from test_metrics_networks import inception_file, lpips_files  # noqa: F401  fixtures

from idecli.main import run
from idekernels.errors import InputError
from idemodel.evaluation import scorers
from idemodel.evaluation.scoring import EvaluationSettings, evaluate
from idemodel.evaluation.tables import evaluation_json, write_evaluation_csv, write_json
from idemodel.evaluation.workers import in_order
from idemodel.metrics import METRICS, Metric, frechet_distance, load_inception, load_lpips

SHAPE = (176, 164)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def folders(tmp_path):
    """Truth, a near method, a far one: four images each."""
    random = np.random.default_rng(0)
    for seed in range(4):
        truth = smooth_image(seed, SHAPE)
        save(tmp_path / "truth" / f"{seed}.png", truth)
        for name, level in (("near", 10), ("far", 40)):
            noisy = np.uint8(np.clip(truth + random.normal(0, level, SHAPE), 0, 255))
            save(tmp_path / name / f"{seed}.png", noisy)
    return tmp_path


def strict_json(path):
    def refuse(constant):
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(encoding="ascii"), parse_constant=refuse)


def test_scores_are_those_of_the_metrics(folders):
    result = evaluate({"near": folders / "near"}, folders / "truth")

    assert result.names == ("0", "1", "2", "3")
    assert [metric.name for metric in result.metrics] == list(METRICS)
    for row, name in enumerate(result.names):
        pair = [np.array(Image.open(folders / folder / f"{name}.png")) for folder in ("near", "truth")]
        for metric in METRICS.values():
            assert result.column("near", metric.name)[row] == metric.function(*pair)


def test_figures_do_not_depend_on_the_number_of_workers(folders, tmp_path):
    for workers in (1, 2, 5):
        result = evaluate(
            {"near": folders / "near", "far": folders / "far"}, folders / "truth", EvaluationSettings(workers=workers)
        )
        write_json(tmp_path / f"{workers}.json", evaluation_json(result))
        write_evaluation_csv(tmp_path / f"{workers}.csv", result)

    for suffix in ("json", "csv"):
        files = [(tmp_path / f"{workers}.{suffix}").read_bytes() for workers in (1, 2, 5)]
        assert files[0] == files[1] == files[2]


def test_the_command_writes_report_json_and_csv(folders, capsys):
    out = folders / "deep" / "out"

    code = run(["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(out),
                "--against", f"far={folders / 'far'}", "--photos", str(folders / "truth")])  # fmt: skip

    assert code == 0, capsys.readouterr().err
    content = strict_json(out / "scores.json")
    assert set(content) == {"summary", "images", "settings", "methods", "comparison"}
    assert set(content["summary"]) == set(METRICS)
    assert set(content["summary"]["ssim"]) == {"mean", "std", "ci95"}
    assert [image["name"] for image in content["images"]] == ["0", "1", "2", "3"]
    values = [image["ssim"] for image in content["images"]]
    assert content["summary"]["ssim"]["mean"] == pytest.approx(np.mean(values), abs=1e-12)
    assert content["summary"]["ssim"]["std"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert content["comparison"]["far"]["gmsd"]["wins"] == 4
    assert content["comparison"]["far"]["ssim"]["difference"] > 0 > content["comparison"]["far"]["gmsd"]["difference"]
    with (out / "scores.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["method"], line["name"]) for line in lines] == [
        (m, str(n)) for m in ("near", "far") for n in range(4)
    ]
    assert float(lines[0]["ssim"]) == content["images"][0]["ssim"]
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "near" in capsys.readouterr().out


def test_json_and_csv_go_where_they_are_told(folders, tmp_path):
    out = tmp_path / "out"

    code = run(["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(out), "--metrics", "gmsd,ssim",
                "--json", str(tmp_path / "a.json"), "--csv", str(tmp_path / "a.csv"), "--images", "0"])  # fmt: skip

    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["report.html"]
    assert list(strict_json(tmp_path / "a.json")["summary"]) == ["ssim", "gmsd"]
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").startswith("method,name,ssim,gmsd\n")


def test_images_without_a_partner_are_named(folders, capsys):
    (folders / "near" / "2.png").unlink()
    save(folders / "near" / "extra.png", smooth_image(9, SHAPE))

    code = run(["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(folders / "out"),
                "--metrics", "gmsd"])  # fmt: skip

    complaint = capsys.readouterr().err
    assert code == 0
    assert f"2: not scored, no partner in {folders / 'near'}" in complaint
    assert f"extra: not scored, no partner in {folders / 'truth'}" in complaint
    content = strict_json(folders / "out" / "scores.json")
    assert [image["name"] for image in content["images"]] == ["0", "1", "3"]
    assert [each["name"] for each in content["settings"]["without_partner"]] == ["2", "extra"]
    assert "extra (missing in" in (folders / "out" / "report.html").read_text(encoding="utf-8")


def test_a_comparison_scores_only_what_every_method_has(folders):
    (folders / "far" / "0.png").unlink()

    result = evaluate(
        {"near": folders / "near", "far": folders / "far"}, folders / "truth", EvaluationSettings(metrics=("gmsd",))
    )

    assert result.names == ("1", "2", "3")
    assert result.alone == (("0", (folders / "far",)),)
    assert len(result.column("near", "gmsd")) == len(result.column("far", "gmsd")) == 3


def test_other_sizes_are_refused_unless_resized(folders, capsys):
    small = Image.open(folders / "near" / "1.png").resize((82, 88))
    small.save(folders / "near" / "1.png")
    arguments = ["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(folders / "out")]

    assert run(arguments) == 1
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "1.png: is 88 x 82 but its truth is 176 x 164" in complaint and "--resize" in complaint

    assert run([*arguments, "--resize"]) == 0
    content = strict_json(folders / "out" / "scores.json")
    assert content["settings"]["resized"] == ["1"]
    assert content["images"][1]["ssim"] < 1.0


def test_an_unreadable_image_is_named_and_the_rest_goes_on(folders, capsys):
    (folders / "near" / "1.png").write_bytes(b"no image")

    code = run(["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(folders / "out"),
                "--metrics", "gmsd"])  # fmt: skip

    assert code == 1
    assert "1.png: not a readable" in capsys.readouterr().err
    content = strict_json(folders / "out" / "scores.json")
    assert [image["name"] for image in content["images"]] == ["0", "2", "3"]
    assert len(content["settings"]["unreadable"]) == 1


def test_colour_and_transparency_are_scored_as_grey(tmp_path):
    """Luma by ITU-R 601, transparency over white: the same picture in four modes scores 1 against grey."""
    grey = smooth_image(1, SHAPE)
    save(tmp_path / "truth" / "grey.png", grey)
    save(tmp_path / "synth" / "grey.png", np.stack([grey] * 3, axis=2))
    random = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    luma = np.array(Image.fromarray(random).convert("L"))
    save(tmp_path / "truth" / "colour.png", luma)
    save(tmp_path / "synth" / "colour.png", random)
    save(tmp_path / "truth" / "opaque.png", grey)
    save(tmp_path / "synth" / "opaque.png", np.dstack([grey, np.full(SHAPE, 255, np.uint8)]))
    half = np.dstack([grey, np.where(np.arange(SHAPE[1]) < 80, 0, 255) * np.ones(SHAPE, int)]).astype(np.uint8)
    save(tmp_path / "truth" / "half.png", np.where(np.arange(SHAPE[1]) < 80, 255, grey).astype(np.uint8))
    save(tmp_path / "synth" / "half.png", half)

    result = evaluate({"synth": tmp_path / "synth"}, tmp_path / "truth", EvaluationSettings(metrics=("ssim", "gmsd")))

    assert result.names == ("colour", "grey", "half", "opaque")
    np.testing.assert_array_equal(result.column("synth", "ssim"), 1.0)
    np.testing.assert_array_equal(result.column("synth", "gmsd"), 0.0)


def test_constant_images_leave_no_nan(tmp_path):
    for name, (synth, truth) in {"a": (0, 0), "b": (9, 200), "c": (255, 0)}.items():
        save(tmp_path / "synth" / f"{name}.png", np.full(SHAPE, synth, np.uint8))
        save(tmp_path / "truth" / f"{name}.png", np.full(SHAPE, truth, np.uint8))

    code = run(["evaluate", str(tmp_path / "synth"), str(tmp_path / "truth"), "-o", str(tmp_path / "out")])

    assert code == 0
    content = strict_json(tmp_path / "out" / "scores.json")
    assert content["images"][0] == {"name": "a", "ssim": 1, "ms_ssim": 1, "fsim": 1, "vif": 1, "gmsd": 0, "scoot": 1,
                                    "psnr": 100}  # fmt: skip
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8").lower()
    assert ">nan" not in text and ">inf" not in text


def test_a_single_pair_is_enough(tmp_path):
    save(tmp_path / "synth" / "a.png", smooth_image(1, SHAPE))
    save(tmp_path / "truth" / "a.png", smooth_image(2, SHAPE))

    assert run(["evaluate", str(tmp_path / "synth"), str(tmp_path / "truth"), "-o", str(tmp_path / "out")]) == 0
    summary = strict_json(tmp_path / "out" / "scores.json")["summary"]["ssim"]
    assert summary["ci95"] == [summary["mean"], summary["mean"]] and summary["std"] == 0


def test_small_images_are_refused_for_the_metric_that_cannot_score_them(tmp_path, capsys):
    for folder in ("synth", "truth"):
        save(tmp_path / folder / "a.png", smooth_image(1, (64, 48)))
    arguments = ["evaluate", str(tmp_path / "synth"), str(tmp_path / "truth"), "-o", str(tmp_path / "out")]

    assert run(arguments) == 1
    complaint = capsys.readouterr().err
    assert "a.png: 64 x 48 is too small for MS-SSIM, which needs 161 x 161" in complaint
    assert complaint.count("\n") == 1
    advice = complaint.rstrip().rpartition("--metrics ")[2]
    assert run([*arguments, "--metrics", advice]) == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--metrics", "mse"], 1, "mse: no such metric; choose from ssim, "),
        (["--metrics", "lpips"], 1, "lpips: needs --weights lpips=FILE; wanted is one .safetensors or .pth"),
        (["--metrics", "fid"], 1, "fid: needs --weights inception=FILE; wanted is pytorch-fid's"),
        (["--weights", "vgg=a.pth"], 1, "no metric has such weights; known are lpips, inception"),
        (["--weights", "lpips=none.pth"], 1, "none.pth: no such file; wanted is one .safetensors"),
        (["--photos", "nowhere"], 1, "nowhere: no such folder"),
        (["--against", "far=nowhere"], 1, "nowhere: no such folder"),
        (["--against", "far"], 2, "write it as NAME=PATH"),
        (["--against", "near=far"], 2, "SYNTH has this name"),
        (["--workers", "0"], 2, "--workers"),
    ],
)
def test_a_users_mistake_is_one_line_that_names_the_remedy(folders, capsys, options, code, words):
    arguments = ["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(folders / "out"), *options]

    assert run(arguments) == code
    complaint = capsys.readouterr().err
    assert words in complaint
    assert code == 2 or complaint.count("\n") == 1


def test_folders_without_partners_or_without_images_are_refused(folders, tmp_path, capsys):
    save(tmp_path / "strangers" / "x.png", smooth_image(1, SHAPE))
    (tmp_path / "empty").mkdir()
    for folder in ("strangers", "empty"):
        assert run(["evaluate", str(tmp_path / folder), str(folders / "truth"), "-o", str(tmp_path / "out")]) == 1
        assert f"{folder}: no image has a partner in" in capsys.readouterr().err


def test_a_file_where_the_output_folder_should_be(folders, capsys):
    (folders / "out").write_text("a file")

    assert run(["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(folders / "out")]) == 1
    assert "out: " in capsys.readouterr().err


def test_progress_is_told_of_every_image(folders):
    seen = []

    evaluate(
        {"near": folders / "near"}, folders / "truth", EvaluationSettings(metrics=("gmsd",), workers=2),
        lambda done, count: seen.append((done, count)),
    )  # fmt: skip

    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_lpips_is_scored_with_its_weights_on_any_number_of_workers(folders, lpips_files):  # noqa: F811
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    results = [
        evaluate(
            {"near": folders / "near"}, folders / "truth",
            EvaluationSettings(metrics=("lpips", "gmsd"), weights={"lpips": lpips_files["alex"]}, workers=workers),
        )
        for workers in (1, 2)
    ]  # fmt: skip

    assert [metric.name for metric in results[0].metrics] == ["gmsd", "lpips"]
    assert np.array_equal(results[0].scores["near"], results[1].scores["near"])
    pair = [np.array(Image.open(folders / folder / "2.png")) for folder in ("near", "truth")]
    ref = load_lpips(lpips_files["alex"])(*pair)
    assert results[0].column("near", "lpips")[2] == pytest.approx(ref, rel=1e-5)
    assert torch.get_num_threads() == threads


def test_fid_is_of_the_sets(folders, inception_file, capsys):  # noqa: F811
    for name in ("2", "3"):
        (folders / "truth" / f"{name}.png").unlink()
    code = run(["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(folders / "out"),
                "--metrics", "fid", "--weights", f"inception={inception_file}"])  # fmt: skip

    assert code == 0, capsys.readouterr().err
    content = strict_json(folders / "out" / "scores.json")
    features = load_inception(inception_file)
    sets = [
        np.stack([features(np.array(Image.open(folders / folder / f"{name}.png"))) for name in (0, 1)])
        for folder in ("near", "truth")
    ]
    assert content["summary"]["fid"]["value"] == pytest.approx(frechet_distance(*sets), rel=1e-4)
    assert content["images"] == [{"name": "0"}, {"name": "1"}]
    assert "FID" in (folders / "out" / "report.html").read_text(encoding="utf-8")


def test_a_network_that_gives_no_number_is_an_error(folders, tmp_path):
    torch = pytest.importorskip("torch")
    from test_metrics_networks import lpips_tensors

    torch.save({name: value * 1e30 for name, value in lpips_tensors("alex").items()}, tmp_path / "huge.pth")

    with pytest.raises(InputError, match=r"0\.png: LPIPS is not a finite number"):
        evaluate(
            {"near": folders / "near"}, folders / "truth",
            EvaluationSettings(metrics=("lpips",), weights={"lpips": tmp_path / "huge.pth"}),
        )  # fmt: skip


def test_importing_loads_no_torch():
    code = (
        "import sys, idemodel, idemodel.evaluation.scoring, idemodel.evaluation.report\n"
        "import idecli.evaluate, idecli.recognise\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'torchmetrics', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_new_metric_needs_no_more_than_its_row(folders, monkeypatch):
    darkness = Metric("dark", "Darkness", False, (0.0, 255.0), "mean difference", 1, lambda a, b: float(np.mean(b - a)))
    monkeypatch.setattr(scorers, "METRICS", {**METRICS, "dark": darkness})
    monkeypatch.setattr(scorers, "DESCRIPTIONS", {"dark": darkness, **METRICS})

    code = run(["evaluate", str(folders / "near"), str(folders / "truth"), "-o", str(folders / "out"),
                "--metrics", "ssim,dark"])  # fmt: skip

    assert code == 0
    content = strict_json(folders / "out" / "scores.json")
    assert list(content["summary"]) == ["dark", "ssim"]
    assert content["settings"]["metrics"]["dark"] == {"higher_is_better": False, "source": "mean difference"}
    assert (folders / "out" / "scores.csv").read_text(encoding="utf-8").startswith("method,name,dark,ssim\n")
    assert "Darkness" in (folders / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", [1, 3])
def test_work_on_threads_keeps_its_order_and_torchs_threads(workers):
    torch = pytest.importorskip("torch")
    before, told = torch.get_num_threads(), []
    barrier = threading.Barrier(workers, timeout=60)  # every thread of the pool takes part

    def work(item):
        if item < workers:
            barrier.wait()
        return item, torch.get_num_threads()

    done = in_order(work, range(6), workers, lambda *progress: told.append(progress))

    assert done == [(item, 1) for item in range(6)]
    assert told == [(count, 6) for count in range(1, 7)]
    assert torch.get_num_threads() == before


def test_the_first_error_stops_what_has_not_begun():
    begun = []

    def work(item):
        begun.append(item)
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        in_order(work, range(1000), 1)
    assert len(begun) < 1000


def test_partners_may_be_found_by_a_pattern(folders, capsys):
    for path in list((folders / "near").iterdir()):
        path.rename(path.with_name(f"{path.stem}_fake_B.png"))
    (folders / "near" / "log.txt").write_text("not an image")
    common = [
        "evaluate",
        str(folders / "near"),
        str(folders / "truth"),
        "-o",
        str(folders / "out"),
        "--metrics",
        "gmsd",
    ]
    assert run(common) == 1
    assert "--match pairs others" in capsys.readouterr().err
    assert run([*common, "--match", "(.+)_fake_B"]) == 0
    assert "log.txt (no image)" in capsys.readouterr().err
    assert [each["name"] for each in strict_json(folders / "out" / "scores.json")["images"]] == ["0", "1", "2", "3"]
    assert run([*common, "--match", "(x"]) == 1
    assert "is not a regular expression" in capsys.readouterr().err
    assert run([*common, "--match", "_(fake)_"]) == 1
    assert "is called 'fake' by --match" in capsys.readouterr().err
