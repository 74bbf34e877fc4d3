"""`ewa compare` and `ewa report` as a person or a program calls them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ewa_rs.cli import app
from ewa_rs.cli.compare import parse_model_options, parse_models

COMMAND = (
    "compare --data digits --epochs 1 --precision fp32 --models linear,ewa:2 --seeds 1 "
    "--option ewa.layers=1 --option ewa.axis=-1 --baseline linear --output results/digits"
)


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def test_recorded_command_repeats_the_comparison(runner: CliRunner) -> None:
    first = runner.invoke(app, shlex.split(COMMAND))
    assert first.exit_code == 0, first.output
    assert "results/digits/: table.md, results.json, accuracy.png" in first.output
    written = Path("results/digits/results.json").read_bytes()
    command, *arguments = shlex.split(json.loads(written)["command"])
    assert command == "ewa"
    again = runner.invoke(app, [*arguments, "--json"])
    assert again.exit_code == 0, again.output
    assert again.stderr.count("finished before") == 3
    assert json.loads(again.stdout) == json.loads(written)
    assert Path("results/digits/results.json").read_bytes() == written


def test_report_makes_table_and_plots_anew(runner: CliRunner) -> None:
    command = "compare --data digits --epochs 1 --models linear --output results/digits"
    assert runner.invoke(app, shlex.split(command)).exit_code == 0
    made = [Path("results/digits") / name for name in ("table.md", "accuracy.png", "curves.png")]
    before = [file.read_bytes() for file in made]
    for file in made:
        file.unlink()
    result = runner.invoke(app, ["report", "results/digits"])
    assert result.exit_code == 0, result.output
    assert [file.read_bytes() for file in made] == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("compare", 2, "--models"),
        ("compare --models ewa:many", 2, "expected NAME or NAME:SEEDS, got 'ewa:many'"),
        ("compare --models ewa --option layers=1", 2, "MODEL.NAME=VALUE, got 'layers'"),
        ("compare --models ewa --seeds 0", 2, "--seeds"),
        ("compare --models resnet", 1, "no network is called 'resnet'"),
        ("compare --models ewa --baseline linear", 1, "'linear' is not compared"),
        ("compare --models ewa --data nothing", 1, "no data set is called 'nothing'"),
        ("report nowhere", 1, "nowhere/results.json: No such file"),
    ],
)
def test_wrong_use_is_one_clear_line(
    runner: CliRunner, arguments: str, code: int, message: str
) -> None:
    result = runner.invoke(app, shlex.split(arguments))
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    if code == 1:
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"runs": [', "damaged"), ('{"runs": []}', "no results of a comparison, data, epochs")],
    ids=["truncated", "foreign"],
)
def test_report_of_another_file(runner: CliRunner, text: str, message: str) -> None:
    Path("results.json").write_text(text, "utf-8")
    result = runner.invoke(app, ["report", "."])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: results.json: {message}")


def test_ctrl_c_says_how_to_go_on(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ewa_rs.training.compare.compare", interrupted)
    result = runner.invoke(app, shlex.split(COMMAND))
    assert result.exit_code == 130
    assert result.stderr == "stopped; the same command goes on from here\n"


def test_models_and_options_are_parsed() -> None:
    assert parse_models(["vgg_like:1,ewa", "linear"], 3) == {"vgg_like": 1, "ewa": 3, "linear": 3}
    options = parse_model_options(["ewa.hidden=64", "ewa.gain=n", "linear.normalise=false"])
    assert options == {"ewa": {"hidden": 64, "gain": "n"}, "linear": {"normalise": False}}
    with pytest.raises(typer.BadParameter, match="NAME or NAME:SEEDS"):
        parse_models(["ewa,,linear"], 1)
