"""The commands through click's runner, and once through a real process: results, exit codes, one line a mistake."""

from __future__ import annotations

import ast
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rich.console import Console

from idecli import console
from idecli import main as main_module
from idecli.main import COMMANDS, idesketch, run
from idekernels import coarse_sketch, open_bank
from idekernels.errors import InputError
from idemodel.faces.normalise import Normaliser
from idemodel.files.images import read_colour, read_grey
from idemodel.files.journal import JOURNAL

SIZE = "60x48"
KERNEL = ["--patch", "8", "--overlap", "4", "--radius", "2"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(idesketch, [str(a) for a in arguments], standalone_mode=False)


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must end with exit code 1 and exactly one line on stderr; return that line."""
    assert run([str(a) for a in arguments]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    told = [line for line in lines if line.startswith("Error: ")]
    assert len(told) == 1, lines
    assert "Traceback" not in "".join(lines)
    return told[0]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight phantom pairs of 64 x 48 pixels and their bank."""
    root = tmp_path_factory.mktemp("workshop")
    assert run(["data", "phantom", str(root / "pairs"), "--pairs", "8", "--size", "64x48", "--seed", "3"]) == 0
    assert run(["bank", "build", str(root / "pairs"), str(root / "bank.h5"), *KERNEL]) == 0
    return root


def test_phantom_pairs_are_the_same_for_the_same_seed(workshop: Path, tmp_path: Path) -> None:
    call("data", "phantom", tmp_path / "again", "--pairs", 3, "--size", "64x48", "--seed", 3)
    for side in ("photo", "sketch"):
        names = sorted(path.name for path in (tmp_path / "again" / side).iterdir())
        assert len(names) == 3
        for name in names:
            again, first = tmp_path / "again" / side / name, workshop / "pairs" / side / name
            np.testing.assert_array_equal(read_colour(again), read_colour(first))


def test_phantom_does_not_mix_with_other_pairs(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds pairs already" in fails(capsys, "data", "phantom", workshop / "pairs", "--pairs", 1)


def test_bank_info_says_how_the_bank_was_made(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bank", "info", str(workshop / "bank.h5")]) == 0
    told = capsys.readouterr().out
    for part in ("8", "64 x 48", "intensity=1", "patch:     8, overlap 4, search radius 2", "grey"):
        assert part in told


def test_bank_verify_finds_a_flipped_byte(workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bank", "verify", str(workshop / "bank.h5")]) == 0
    assert "sound" in capsys.readouterr().out
    damaged = tmp_path / "damaged.h5"
    content = bytearray((workshop / "bank.h5").read_bytes())
    content[len(content) // 2] ^= 0x40
    damaged.write_bytes(content)
    assert str(damaged) in fails(capsys, "bank", "verify", damaged)
    assert run(["bank", "verify", str(damaged), str(workshop / "bank.h5")]) == 1
    assert "bank.h5: sound" in capsys.readouterr().out


def test_several_planes_and_colour_targets(workshop: Path, tmp_path: Path) -> None:
    path = tmp_path / "planes.h5"
    planes = ["--plane", "intensity", "--plane", "dog=2", "--target", "colour"]
    assert run(["bank", "build", str(workshop / "pairs"), str(path), *KERNEL, *planes]) == 0
    with open_bank(path) as bank:
        assert (bank.settings.representations, bank.weights, bank.channels) == (("intensity", "dog"), (1, 2), 3)
    assert run(["coarse", str(path), str(workshop / "pairs/photo/0000.png"), "-o", str(tmp_path), "--k", "3"]) == 0
    assert read_colour(tmp_path / "0000.png").shape == (64, 48, 3)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: (root / "sketch" / "0001.png").unlink(), "without a twin"),
        (lambda root: (root / "photo" / "0001.png").write_bytes(b""), "0001.png"),
        (lambda root: (root / "photo" / "0001.png").write_text("hello"), "0001.png"),
        (lambda root: Image.new("L", (48, 60)).save(root / "sketch" / "0001.png"), "0001"),
        (lambda root: shutil.rmtree(root / "photo"), "no such folder"),
        (lambda root: Image.new("L", (48, 64)).save(root / "photo" / "0001.bmp"), "same name"),
    ],
)
def test_a_bad_pairs_folder_is_one_line_and_leaves_no_bank(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil, told: str
) -> None:
    shutil.copytree(workshop / "pairs", tmp_path / "pairs")
    spoil(tmp_path / "pairs")
    assert told in fails(capsys, "bank", "build", tmp_path / "pairs", tmp_path / "bank.h5", *KERNEL)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_build_into_a_missing_folder_names_it(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert str(tmp_path / "no") in fails(capsys, "bank", "build", workshop / "pairs", tmp_path / "no" / "b.h5")


def test_coarse_writes_what_the_library_makes(workshop: Path, tmp_path: Path) -> None:
    photos = workshop / "pairs" / "photo"
    assert (
        run(["coarse", str(workshop / "bank.h5"), str(photos), "-o", str(tmp_path), "--k", "4", "--alpha", "0.2"]) == 0
    )
    with open_bank(workshop / "bank.h5") as bank:
        expected = coarse_sketch(read_colour(photos / "0002.png"), bank, k=4, alpha=0.2).images()[0]
    np.testing.assert_array_equal(read_grey(tmp_path / "0002.png"), expected)
    assert len(list(tmp_path.iterdir())) == 8 + len([JOURNAL])


def test_coarse_skips_what_is_done_and_goes_on_past_bad_photos(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(workshop / "pairs" / "photo", photos)
    (photos / "0003.png").write_bytes(b"\x89PNG\r\n\x1a\n not quite")
    Image.new("RGB", (47, 64)).save(photos / "0004.png")
    out = tmp_path / "out"
    arguments = [
        "coarse",
        str(workshop / "bank.h5"),
        str(photos),
        str(tmp_path / "none.png"),
        "-o",
        str(out),
        "--k",
        "3",
    ]
    assert run(arguments) == 1
    told = capsys.readouterr()
    assert sum(line.startswith("Error: ") for line in told.err.splitlines()) == 3
    for name in ("0003.png", "0004.png", "none.png"):
        assert name in told.err
    assert "6 made, 0 there already, 3 failed" in told.out
    (out / "0000.png").write_bytes(b"mine")
    assert run(arguments) == 1
    assert "0 made, 6 there already, 3 failed" in capsys.readouterr().out
    assert (out / "0000.png").read_bytes() == b"mine"
    assert run([*arguments, "--overwrite"]) == 1
    assert read_grey(out / "0000.png").shape == (64, 48)


def test_two_photos_of_one_name_do_not_overwrite_each_other(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = workshop / "pairs/photo/0000.png", workshop / "pairs/sketch/0000.png"
    assert "same 0000.png" in fails(capsys, "coarse", workshop / "bank.h5", first, second, "-o", tmp_path, "--k", 3)
    assert len(list(tmp_path.iterdir())) == 1 + len([JOURNAL])


def test_leave_one_out_needs_the_pair_in_the_bank(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = tmp_path / "stranger.png"
    shutil.copy(workshop / "pairs/photo/0000.png", stranger)
    arguments = ["coarse", workshop / "bank.h5", stranger, "-o", tmp_path / "out", "--k", 3, "--leave-one-out"]
    assert "no pair 'stranger' in the bank" in fails(capsys, *arguments)


def test_shards_give_the_joined_banks_result(workshop: Path, tmp_path: Path) -> None:
    for name, numbers in (("a", range(0, 3)), ("b", range(3, 8))):
        for side in ("photo", "sketch"):
            (tmp_path / name / side).mkdir(parents=True)
            for number in numbers:
                source = workshop / "pairs" / side / f"{number:04d}.png"
                shutil.copy(source, tmp_path / name / side)
        assert run(["bank", "build", str(tmp_path / name), str(tmp_path / f"{name}.h5"), *KERNEL]) == 0
    photo = str(workshop / "pairs/photo/0005.png")
    shards = [str(tmp_path / "a.h5"), str(tmp_path / "b.h5")]
    assert run(["coarse", *shards, photo, "-o", str(tmp_path / "shards"), "--memory", "1KiB"]) == 0
    assert run(["coarse", str(workshop / "bank.h5"), photo, "-o", str(tmp_path / "joined")]) == 0
    np.testing.assert_array_equal(
        read_grey(tmp_path / "shards" / "0005.png"), read_grey(tmp_path / "joined" / "0005.png")
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--method", "magic"], "method must be one of"),
        (["--k", "0"], "k must be 1 or more"),
        (["--k", "999999"], "k must be"),
        (["--alpha", "-1"], "alpha must be"),
        (["--alpha", "nan"], "alpha must be"),
        (["--patch", "999"], "smaller than one 999-pixel patch"),
        (["--overlap", "8"], "overlap must be"),
        (["--backend", "tpu"], "no backend called 'tpu'"),
        (["--blend", "magic"], "blend must be one of"),
    ],
)
def test_a_bad_setting_is_one_line(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    photo = workshop / "pairs/photo/0000.png"
    assert told in fails(capsys, "coarse", workshop / "bank.h5", photo, "-o", tmp_path / "out", *arguments)


@pytest.mark.parametrize("content", [b"", b"a text file", b"\x89HDF\r\n\x1a\n" + bytes(200)])
def test_what_is_not_a_bank_is_one_line(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_bytes(content)
    for command in (
        ["coarse", bad, workshop / "pairs/photo", "-o", tmp_path],
        ["bank", "info", bad],
        ["bank", "verify", bad],
    ):
        assert str(bad) in fails(capsys, *command)


def test_usage_errors_exit_with_2(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["coarse", str(workshop / "bank.h5"), "-o", "out"]) == 2
    assert run(["data", "phantom", "out", "--size", "big"]) == 2
    assert run(["nonsense"]) == 2
    assert "250x200" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such bank"):
        run(["--debug", "bank", "info", str(tmp_path / "none.h5")])


def test_doctor_names_versions_backends_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    told = capsys.readouterr().out
    for part in ("numba", np.__version__, "cores:", "reference", "cuda", "kernel cache", "temporary"):
        assert part in told


def test_demo_knows_the_short_name_of_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert f"{tmp_path}: is not empty" in fails(capsys, "demo", "-o", tmp_path)


def test_demo_makes_pictures_and_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert run(["demo", "--out", str(out), "--pairs", "6", "--faces", "2"]) == 0
    told = capsys.readouterr().out
    assert "Gaussian window 11" in told
    assert read_colour(out / "contact-sheet.png").shape == (
        26 + 3 * 258,
        8 + 5 * 208,
        3,
    )  # two drawn faces and the astronaut
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert "http://" not in page and "https://" not in page
    for method in ("mean", "mwf", "fine"):
        assert len(list((out / method).iterdir())) == 3
    assert not np.array_equal(*(read_grey(out / method / "0006.png") for method in ("mwf", "fine")))
    assert "not empty" in fails(capsys, "demo", "--out", out)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", "from idecli.main import main; main()", *map(str, arguments)]


def test_a_real_process_and_its_exit_codes(workshop: Path, tmp_path: Path) -> None:
    good = subprocess.run(
        command("coarse", workshop / "bank.h5", workshop / "pairs/photo/0001.png", "-o", tmp_path, "--k", 3),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (good.returncode, good.stdout) == (0, f"{tmp_path}: 1 made, 0 there already, 0 failed\n")
    assert "backend cpu" in good.stderr
    bad = subprocess.run(command("bank", "info", tmp_path), capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.count("\n") == 1


def test_an_interrupted_batch_keeps_what_is_done_and_goes_on(workshop: Path, tmp_path: Path) -> None:
    bank, photos, out = workshop / "bank.h5", workshop / "pairs" / "photo", tmp_path / "out"
    assert run(["coarse", str(bank), str(photos / "0003.png"), "-o", str(out)]) == 0
    done = (out / "0003.png").read_bytes()
    slow = command("coarse", bank, photos, "-o", out, "--backend", "reference")
    process = subprocess.Popen(
        slow,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background has it ignored
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("backend reference")  # it has begun, and takes many seconds more
    while process.poll() is None:  # Python drops an interrupt that falls into a destructor: press again, as people do
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.5)
    told = process.stderr.read()
    process.stderr.close()

    assert process.returncode in (130, -signal.SIGINT), told
    assert sorted(path.name for path in out.iterdir()) == [JOURNAL, "0003.png"]
    assert (out / "0003.png").read_bytes() == done
    assert run(["coarse", str(bank), str(photos), "-o", str(out)]) == 0
    assert len(list(out.glob("*.png"))) == 8
    assert (out / "0003.png").read_bytes() == done


def test_coarse_normalises_what_is_unlike_the_bank(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dark, own = tmp_path / "dark.png", workshop / "pairs/photo/0001.png"
    Image.fromarray(read_colour(own) // 8).save(dark)
    for way in ("auto", "none"):
        out = tmp_path / way
        photos = [str(dark), str(own), "--method", "mean"]
        assert run(["coarse", str(workshop / "bank.h5"), *photos, "-o", str(out), "--normalise", way]) == 0
        told = [line for line in capsys.readouterr().err.splitlines() if "normalised" in line]
        assert [line.partition(": ")[0] for line in told] == ([str(dark)] if way == "auto" else [])
    with open_bank(workshop / "bank.h5") as bank:
        made = Normaliser.of(bank).normalise(read_colour(dark)).photo
        expected = coarse_sketch(made, bank, method="mean").images()[0]
    np.testing.assert_array_equal(read_grey(tmp_path / "auto/dark.png"), expected)
    np.testing.assert_array_equal(read_grey(tmp_path / "auto/0001.png"), read_grey(tmp_path / "none/0001.png"))


def test_a_bank_without_grey_levels_normalises_only_when_told_to(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank, photo = tmp_path / "gradient.h5", workshop / "pairs/photo/0001.png"
    assert run(["bank", "build", str(workshop / "pairs"), str(bank), *KERNEL, "--plane", "gradient"]) == 0
    assert run(["coarse", str(bank), str(photo), "-o", str(tmp_path / "out")]) == 0
    assert "taken as they are" in capsys.readouterr().err
    told = fails(capsys, "coarse", bank, photo, "-o", tmp_path / "levels", "--normalise", "levels")
    assert "--plane intensity" in told and "--normalise none" in told


def test_commands_import_no_command() -> None:
    """What two commands share lies in a file that is no command."""
    commands = {entry.place.partition(":")[0].lstrip(".") for entry in COMMANDS.values()}
    for name in commands:
        tree = ast.parse((Path(main_module.__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
        taken = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1}
        assert not taken & commands, name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_command_says_of_itself(name: str) -> None:
    command = idesketch.get_command(click.Context(idesketch), name)
    assert command is not None and command.name == name
    assert COMMANDS[name].help == command.get_short_help_str(limit=1000)
    assert f"\n  {name} " in call("--help").output


def test_listing_the_commands_imports_none_of_them() -> None:
    code = """
import sys
from idecli import console
from idecli.main import COMMANDS, run

assert run(["--help"]) == 0
commands = {"idecli" + entry.place.partition(":")[0] for entry in COMMANDS.values()}
heavy = {"torch", "numba", "scipy", "numpy", "h5py", "PIL", "jinja2", "idemodel"}
print(sorted((commands | heavy) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_name_is_told_as_it_is_and_not_as_an_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    console.complain(InputError("local:x: is no cluster"))
    console.say("a:-1:b")
    said = capsys.readouterr()
    assert said.err == "Error: local:x: is no cluster\n" and said.out == "a:-1:b\n"


def test_a_progress_bar_is_a_function_of_done_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=terminal, force_terminal=True, width=80))
    with pytest.raises(ValueError, match="stop"), console.counted("Working") as told:
        told(1, 4)
        told(4, 4)
        raise ValueError("stop")
    shown = terminal.getvalue()
    assert "Working" in shown and "4/4" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # wiped: an error's one line does not follow a bar


def test_without_a_terminal_progress_is_a_plain_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds and a tenth of the work apart, whichever is rarer; short work says nothing; no escape codes."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    now, pipe = [0.0], io.StringIO()
    monkeypatch.setattr("idecli.console.time.monotonic", lambda: now[0])
    monkeypatch.setattr(console, "err", console.PlainInPipes(file=pipe))
    with console.counted("Short") as told:
        for done in range(50):
            now[0] += 0.1
            told(done, 50)
    assert pipe.getvalue() == ""
    with console.progress() as bar:
        task = bar.add_task("Slow", total=200)
        for _ in range(40):
            now[0] += 4
            bar.advance(task)
    assert pipe.getvalue() == "Slow: 20 of 200\nSlow: 40 of 200\n"
    pipe.truncate(0)
    with console.counted("Quick") as told:
        for done in range(100):
            now[0] += 0.5
            told(done, 100)
    assert [line.rpartition("\0")[2] for line in pipe.getvalue().splitlines()] == [
        f"Quick: {done} of 100" for done in (19, 39, 59, 79, 99)
    ]


def test_force_color_sends_no_escape_codes_into_a_pipe(workshop: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command("coarse", workshop / "bank.h5", workshop / "pairs/photo/0001.png", tmp_path / "no.png", "-o", tmp_path),
        env={**os.environ, "FORCE_COLOR": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "no.png" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr and "\r" not in done.stderr


def test_a_legacy_code_page_makes_no_error_of_a_name(workshop: Path, tmp_path: Path) -> None:
    out = tmp_path / "o_\u0142"
    done = subprocess.run(
        command("coarse", workshop / "bank.h5", workshop / "pairs/photo/0001.png", "-o", out, "--method", "MEAN"),
        env={**os.environ, "PYTHONIOENCODING": "cp1252"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "o_\\u0142: 1 made" in done.stdout


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_debug_may_stand_anywhere(tmp_path: Path, place: int) -> None:
    arguments = ["bank", "info", str(tmp_path / "none.h5")]
    with pytest.raises(ValueError, match="no such bank"):
        run([*arguments[:place], "--debug", *arguments[place:]])


def test_an_end_of_file_is_no_interrupt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ended(*_: object) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr("idekernels.bank.file._open", ended)
    assert "Ran out of input" in fails(capsys, "bank", "info", "any.h5")
    with pytest.raises(EOFError):
        run(["bank", "info", "any.h5", "--debug"])


def test_names_are_taken_as_tables_print_them(
    workshop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, bank = workshop / "pairs/photo/0001.png", workshop / "bank.h5"
    assert run(["coarse", str(bank), str(photo), "-o", str(tmp_path), "--method", "MWF", "--blend", "Cut"]) == 0
    assert (
        run(["coarse", str(bank), str(photo), "-o", str(tmp_path / "b"), "--method", "mean", "--align", "NEVER"]) == 0
    )
    sketches = str(workshop / "pairs/sketch")
    assert run(["evaluate", sketches, sketches, "-o", str(tmp_path / "report"), "--metrics", "SSIM"]) == 0
    told = fails(capsys, "evaluate", sketches, sketches, "-o", tmp_path / "large", "--metrics", "MS-SSIM")
    assert "too small for MS-SSIM" in told


def test_wildcards_are_expanded_where_no_shell_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.jpg", "c[1].jpg", "d.png"):
        (tmp_path / name).touch()
    given = ["coarse", "*.jpg", "c[1].jpg", "*.bmp", "--out=*", "?.png"]
    assert main_module.expanded(given) == [
        "coarse", "a.jpg", "b.jpg", "c[1].jpg", "c[1].jpg", "*.bmp", "--out=*", "d.png"
    ]  # fmt: skip
    seen: list[list[str]] = []
    monkeypatch.setattr(main_module.idesketch, "main", lambda arguments, **_: seen.append(arguments))
    run(["coarse", "?.png"])
    monkeypatch.setattr("idecli.main.os.name", "nt")
    run(["coarse", "?.png"])
    monkeypatch.undo()
    assert seen == [["coarse", "?.png"], ["coarse", "d.png"]]
