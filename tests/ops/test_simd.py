"""Every instruction set that this processor has passes the check that the best one passes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ewa_rs import _core

ROOT = Path(__file__).parents[2]
SCRIPT = """
from hypothesis import given, settings
from tests.checks import check_op
from tests.registry import OPS
from tests.strategies import examples
from ewa_rs import _core

for op in OPS.values():
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(examples(op))
    def check(example):
        check_op(op, example)
    check()
print(_core.simd())
"""


def run(script: str, simd: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"EWA_SIMD": simd}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("simd", [s for s in _core.available_simd() if s != _core.simd()])
def test_every_instruction_set(simd: str) -> None:
    result = run(SCRIPT, simd)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == simd


def test_an_instruction_set_that_is_not_there_is_refused() -> None:
    script = "import ewa_rs; ewa_rs.elementwise_attention([1.0], [1.0], [1.0])"
    result = run(script, "mmx")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: EWA_SIMD: ")
    assert "mmx" in last
