"""A training script of others, as it is, with the layer dropped in."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SCRIPT = os.environ.get("TIMM_TRAIN")
OPTIONS = shlex.split(
    "--device-modules my_models --model attentive --num-classes 2 --input-size 3 32 32 "
    "--device cpu --no-prefetcher --workers 1 --batch-size 8 --lr 0.01 --warmup-epochs 0 "
    "--amp --amp-dtype bfloat16 --torchcompile aot_eager --output out"
)

USE_THE_CHECKPOINT = """
import my_models, timm, torch
net = timm.create_model("attentive", num_classes=2, checkpoint_path="out/second/last.pth.tar")
batch = {0: torch.export.Dim("batch")}
program = torch.export.export(net.eval(), (torch.rand(4, 3, 32, 32),), dynamic_shapes=(batch,))
x = torch.rand(2, 3, 32, 32)
torch.testing.assert_close(program.module()(x), net(x))
"""


@pytest.mark.skipif(not SCRIPT, reason="TIMM_TRAIN names no train.py of timm")
def test_train_of_timm(tmp_path: Path) -> None:
    """Train compiled under autocast, save, resume, load, export."""
    document = (ROOT / "docs" / "pytorch.md").read_text("utf-8")
    module = re.search(r"^```py\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    assert module
    (tmp_path / "my_models.py").write_text(module[1], "utf-8")
    for name in (f"{split}/{kind}" for split in ("train", "validation") for kind in "ab"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(16):
            pixels = np.random.default_rng(i).integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")

    def run(*arguments: str) -> None:
        environment = os.environ | {
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        }
        command = [sys.executable, *arguments]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr

    train = (str(Path(SCRIPT or "").resolve()), "--data-dir", "images", *OPTIONS)
    run(*train, "--epochs", "1", "--experiment", "first")
    run(*train, "--epochs", "2", "--experiment", "second", "--resume", "out/first/last.pth.tar")
    run("-c", USE_THE_CHECKPOINT)
