"""The reports: layout of charts, hostile names, and the pages in a real browser without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image
from test_metrics_all import smooth_image

from idemodel.evaluation.charts import BAND, MAX_DOTS, WIDTH, curve, distribution, nice_ticks
from idemodel.evaluation.pages import render, write_page
from idemodel.evaluation.protocol import Recognition
from idemodel.evaluation.report import choose_rows, write_evaluation, write_recognition
from idemodel.evaluation.scoring import EvaluationSettings, evaluate

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")
SHAPE = (60, 48)
HOSTILE = "<img src=x onerror=document.documentElement.dataset.hacked=1>"
NAMES = ("1", "2", "10", "<script>document.documentElement.dataset.hacked=1<", HOSTILE, "a'b\"c & d")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Six images with awkward names, two methods, photos in colour; and the report of it."""
    folder = tmp_path_factory.mktemp("report")
    random = np.random.default_rng(1)
    for sub in ("truth", "near", "far", "photo"):
        (folder / sub).mkdir()
    for seed, name in enumerate(NAMES):
        truth = smooth_image(seed, SHAPE)
        Image.fromarray(truth).save(folder / "truth" / f"{name}.png")
        Image.fromarray(np.dstack([truth, truth[::-1], truth])).save(folder / "photo" / f"{name}.png")
        for sub, level in (("near", 3 + seed), ("far", 40)):
            noisy = np.uint8(np.clip(truth + random.normal(0, level, SHAPE), 0, 255))
            Image.fromarray(noisy).save(folder / sub / f"{name}.png")
    methods = {"near <b>one</b>": folder / "near", "far": folder / "far"}
    result = evaluate(methods, folder / "truth", EvaluationSettings(metrics=("ssim", "gmsd")))
    write_evaluation(folder / "report.html", result, folder / "photo")
    return folder, result


def browse(page, options, profile):
    """Chromium's answer for a page from disk, with a fresh profile and everything that phones home off."""
    switches = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=4000"
    )
    command = [str(CHROMIUM), *switches.split(), f"--user-data-dir={profile}", *options, page]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def shown_order(dom, method):
    """Values of the first metric in the table's rows of one method, as they stand."""
    table = dom[dom.index('id="scores"') : dom.index('id="images"')]
    rows = re.findall(r'<tr data-method="([^"]*)">(.*?)</tr>', table, flags=re.DOTALL)
    return [float(re.findall(r'data-value="([^"]+)"', row)[0]) for name, row in rows if name == method]


def test_the_page_asks_nobody_for_anything(evaluation):
    folder, _ = evaluation
    page = (folder / "report.html").read_text(encoding="utf-8")

    assert "://" not in page and "url(" not in page and "@import" not in page
    assert all(link.startswith(("data:image/", "#")) for link in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert page.count("data:image/jpeg;base64,") == 4 * len(NAMES)
    assert "default-src 'none'" in page


def test_names_are_text_wherever_they_stand(evaluation):
    folder, _ = evaluation
    page = (folder / "report.html").read_text(encoding="utf-8")

    assert page.count("<script") == 1 and "<img src=x" not in page and "<b>one</b>" not in page
    assert "&lt;img src=x" in page and "near &lt;b&gt;one&lt;/b&gt;" in page


@needs_browser
def test_the_script_sorts_the_table_and_no_name_runs(evaluation, tmp_path):
    folder, result = evaluation
    scores = list(result.column("far", "ssim"))

    dom = browse(f"file://{folder / 'report.html'}#sort=ssim:descending", ["--dump-dom"], tmp_path / "a")

    assert 'data-ready="yes"' in dom and "data-hacked" not in dom
    assert '<th data-key="ssim" data-number="" aria-sort="descending">' in dom
    assert shown_order(dom, "far") == sorted(scores, reverse=True) != scores


@needs_browser
def test_an_image_is_enlarged(evaluation, tmp_path):
    folder, _ = evaluation

    dom = browse(f"file://{folder / 'report.html'}#zoom=5", ["--dump-dom"], tmp_path / "a")

    dialog = dom[dom.index("<dialog") : dom.index("</dialog>")]
    sources = re.findall(r'src="(data:[^"]+)"', dom)
    assert re.match(r"<dialog[^>]* open", dialog)
    assert re.findall(r'src="(data:[^"]+)"', dialog) == [sources[5]]


@needs_browser
@pytest.mark.parametrize("size", ["1200,1800", "390,1800"])
def test_the_page_is_seen(evaluation, tmp_path, size):
    """Charts in the methods' colours and the photos are on the screen, on a desk and on a phone."""
    folder, _ = evaluation
    shot = tmp_path / "shot.png"

    browse(f"file://{folder / 'report.html'}", [f"--screenshot={shot}", f"--window-size={size}"], tmp_path / "a")

    pixels = np.array(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.std() > 10
    for colour in ((0x2F, 0x6D, 0xB3), (0xD1, 0x70, 0x2F)):
        assert (np.abs(pixels - colour).max(axis=2) < 12).sum() > 50


@needs_browser
def test_the_recognition_page_is_seen(tmp_path):
    rates = np.clip(np.linspace(0.1, 0.95, 12) + np.random.default_rng(0).normal(0, 0.03, (5, 12)), 0, 1)
    folders = (tmp_path / "<i>synth", tmp_path / "sketch")
    write_recognition(tmp_path / "r.html", Recognition(rates, 13, 20, 2022, folders, folders, same_people=True))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")

    browse(
        f"file://{tmp_path / 'r.html'}", [f"--screenshot={tmp_path / 'r.png'}", "--window-size=700,800"], tmp_path / "a"
    )

    assert "<i>synth" not in page and "://" not in page
    pixels = np.array(Image.open(tmp_path / "r.png").convert("RGB")).astype(int)
    assert (np.abs(pixels - (0x2F, 0x6D, 0xB3)).max(axis=2) < 12).sum() > 300


def test_a_large_set_shows_an_even_choice_with_the_best_and_the_worst(evaluation, tmp_path):
    _, result = evaluation
    scores = result.column(result.methods[0], "ssim")

    chosen = choose_rows(result, 3)
    write_evaluation(tmp_path / "few.html", result, images=3)
    write_evaluation(tmp_path / "none.html", result, images=0)

    assert len(chosen) == 3 and {int(scores.argmin()), int(scores.argmax())} <= set(chosen)
    assert choose_rows(result, 6) == choose_rows(result, 99) == list(range(6)) and choose_rows(result, 0) == []
    few, none = ((tmp_path / name).read_text(encoding="utf-8") for name in ("few.html", "none.html"))
    assert few.count("data:image/jpeg") == 9 and "3 of 6 images" in few
    assert none.count("data:image/jpeg") == 0 and few.count("<tr data-method") == none.count("<tr data-method") == 12


def test_the_summary_says_what_the_scores_say(evaluation):
    folder, result = evaluation
    page = (folder / "report.html").read_text(encoding="utf-8")
    compared = result.comparison("far")["gmsd"]

    for method in result.methods:
        summary = result.summary(method)["ssim"]
        assert f"{summary.mean:.4f}" in page and f"{summary.ci95[0]:.4f} to {summary.ci95[1]:.4f}" in page
    assert f'<td class="good">{compared.difference:+.4f}</td>' in page
    assert compared.wins == 6 and "<td>6</td><td>0</td><td>0</td>" in page


def test_a_large_image_is_embedded_at_a_bounded_size(tmp_path):
    for sub in ("synth", "truth"):
        (tmp_path / sub).mkdir()
        Image.fromarray(smooth_image(1, (1300, 40))).save(tmp_path / sub / "a.png")
    result = evaluate({"synth": tmp_path / "synth"}, tmp_path / "truth", EvaluationSettings(metrics=("gmsd",)))

    write_evaluation(tmp_path / "r.html", result)

    assert 'height="1024"' in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_chart_marks_lie_where_the_scores_say():
    scores = {"a": np.array([0.2, 0.4, 0.4, 0.6]), "b": np.array([0.3, 0.3, 0.3, 0.3])}
    chart = distribution(["p", "q", "r", "s"], scores, {"a": (0.3, 0.5), "b": (0.3, 0.3)})
    places = {tick.label: tick.at for tick in chart.ticks}

    first, second = chart.bands
    assert first.mean == places["0.4"] and first.interval == (places["0.3"], places["0.5"])
    assert second.quartiles == (places["0.3"],) * 3
    assert sorted(dot.title for dot in first.dots) == ["p: 0.2000", "q: 0.4000", "r: 0.4000", "s: 0.6000"]
    for index, band in enumerate(chart.bands):
        assert all(0 <= dot.x <= WIDTH and index * BAND <= dot.y <= (index + 1) * BAND for dot in band.dots)
        assert len({(dot.x, dot.y) for dot in band.dots}) == 4


def test_many_equal_scores_stay_inside_their_band():
    chart = distribution([str(i) for i in range(900)], {"a": np.full(900, 0.5)}, {"a": (0.5, 0.5)})

    dots = chart.bands[0].dots
    assert len(dots) == MAX_DOTS and all(0 <= dot.y <= BAND for dot in dots)


@pytest.mark.parametrize(
    "limits", [(0.0, 1.0), (0.3, 0.3), (-0.02, 0.47), (1.0, 1.0), (0.0, 0.0), (12.0, 951.0), (3e-7, 9e-7)]
)
def test_ticks_enclose_the_data_in_round_steps(limits):
    ticks = nice_ticks(*limits)
    step = ticks[1] - ticks[0]

    assert ticks[0] <= limits[0] + 1e-12 and ticks[-1] >= limits[1] - 1e-12
    assert 3 <= len(ticks) <= 10
    np.testing.assert_allclose(np.diff(ticks), step)
    assert round(step / 10 ** np.floor(np.log10(step) + 1e-9), 6) in (1, 2, 5)


def test_a_curve_of_one_dimension_has_a_place():
    drawn = curve([1], np.array([0.5]), np.array([0.1]))

    assert drawn.line.count(",") == 1 and drawn.outline.count(",") == 2
    assert [tick.label for tick in drawn.y_ticks] == ["0%", "20%", "40%", "60%", "80%", "100%"]


def test_pages_escape_values_and_refuse_a_template_without_one(tmp_path):
    values = {"title": "<b>", "sheet": "data:,", "scores": {"<i>": 0.5}, "variant": "v", "faces": 1, "pairs": 2}
    html = render("demo.html.jinja", **values)
    assert "&lt;b&gt;" in html and "<i>" not in html and "0.5000" in html
    del values["pairs"]
    with pytest.raises(jinja2.UndefinedError, match="pairs"):
        render("demo.html.jinja", **values)
    write_page(tmp_path / "page.html", "caf\xe9 \udcff")
    assert (tmp_path / "page.html").read_bytes() == b"caf\xc3\xa9 \\udcff"


def test_there_is_one_template_environment():
    root = Path(__file__).parents[1]
    files = [file for folder in ("idekernels", "idemodel", "cli") for file in (root / folder).rglob("*.py")]
    assert [file.name for file in files if "import jinja2" in file.read_text()] == ["pages.py"]
