"""The file of a sweep: what it may say, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ewa_rs.training.sweep.file import read_sweep

NETWORK = '[[networks]]\nmodel = "linear"\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("digits.toml")


def test_rows_runs_and_folders(file: Path) -> None:
    file.write_text(
        'output = "out"\nseeds = 2\n[recipe]\ndata = "digits"\nepochs = 3\n'
        + NETWORK
        + '[[networks]]\nname = "ewa, thin"\nmodel = "ewa"\nseeds = 1\nlr = 0.1\n'
        "options = { layers = 1 }\n"
    )
    sweep = read_sweep(file)
    assert sweep.labels == ["linear", "ewa, thin"]
    assert sweep.baseline_name == "linear"
    assert sweep.command == "ewa sweep digits.toml"
    tasks = sweep.tasks()
    assert [str(t) for t in tasks] == ["linear, seed 0", "ewa, thin, seed 0", "linear, seed 1"]
    assert [t.config.output for t in tasks] == [
        "out/runs/linear-seed0", "out/runs/ewa-thin-seed0", "out/runs/linear-seed1",
    ]  # fmt: skip
    assert [t.config.lr for t in tasks] == [0.005, 0.1, 0.005]
    assert tasks[1].config.model_options == {"layers": 1}
    assert sweep.row_of(tasks[0]) == {}
    assert sweep.row_of(tasks[1]) == {"label": "ewa, thin", "settings": {"lr": 0.1}}


def test_grid_makes_a_row_of_every_combination(file: Path) -> None:
    file.write_text(
        "[[networks]]\nmodel = 'ewa'\n[networks.grid]\noptions.layers = [1, 2]\n"
        "[[networks]]\nmodel = 'linear'\n[grid]\nlr = [0.01, 0.02]\n"
    )
    sweep = read_sweep(file)
    assert sweep.labels == [
        "ewa, lr=0.01, layers=1", "ewa, lr=0.01, layers=2",
        "ewa, lr=0.02, layers=1", "ewa, lr=0.02, layers=2",
        "linear, lr=0.01", "linear, lr=0.02",
    ]  # fmt: skip
    assert sweep.networks[2].config.lr == 0.02
    assert sweep.networks[3].config.model_options == {"layers": 2}
    assert len({t.config.output for t in sweep.tasks()}) == 6
    assert sweep.output == Path("runs/digits")


def test_the_caller_has_the_last_word(file: Path) -> None:
    file.write_text("test = true\n" + NETWORK)
    sweep = read_sweep(file, output=Path("there"), test=False, device="cpu", data_dir="data")
    assert (sweep.output, sweep.test) == (Path("there"), False)
    assert (sweep.recipe.device, sweep.recipe.data_dir) == ("cpu", "data")
    assert sweep.command == "ewa sweep digits.toml --output there --no-test"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = ", "not TOML"),
        ("seeds = 2", r"networks: expected at least one \[\[networks\]\], got none"),
        ("seed = 2\n" + NETWORK, "seed: unknown; did you mean seeds\\?"),
        ("[recipe]\nlr = 'fast'\n" + NETWORK, "recipe: lr: expected a number, got 'fast'"),
        ("[recipe]\nepochs = true\n" + NETWORK, "recipe: epochs: expected a whole number"),
        ("[recipe]\nepochs = 0\n" + NETWORK, "recipe: epochs: expected at least 1, got 0"),
        ("[recipe]\nmodel = 'ewa'\n" + NETWORK, "recipe: model: unknown"),
        ("[recipe]\noptimizer = 'lion'\n" + NETWORK, "optimizer: expected one of adamw, sgd"),
        ("[[networks]]\nname = 'x'", r"networks\[1\]: model: missing"),
        ("[[networks]]\nmodel = 'vgg'", r"networks\[1\]: model: no network is called 'vgg'"),
        (NETWORK + "data = 'digits'", r"networks\[1\]: data: unknown"),
        (NETWORK + "options = { layers = 1 }", r"networks\[1\]: options: layers: unknown"),
        (NETWORK + "seeds = 0", "seeds: expected at least 1 for linear, got 0"),
        (NETWORK + NETWORK, "'linear' and 'linear' would share a folder"),
        (
            NETWORK.replace("linear", "ewa") + "name = 'A'\n" + NETWORK + "name = 'A'",
            "share a folder",
        ),
        (NETWORK + "[grid]\noptions = [1, 2]", r"grid: options: expected a table, got \[1, 2\]"),
        (NETWORK + "[grid]\nlr = 0.1", "grid: lr: expected a list of values, got 0.1"),
        (NETWORK + "[grid]\nlr = ['a']", "grid: lr: expected a number, got 'a'"),
        (NETWORK + "[grid]\noptions.depth = [1]", r"grid: options.depth: unknown"),
        ("baseline = 'ewa'\n" + NETWORK, "baseline: expected one of 'linear', got 'ewa'"),
    ],
)
def test_wrong_file(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=f"^digits.toml: .*{message}"):
        read_sweep(file)
