"""The examples of the README and the guides run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def examples() -> list[object]:
    """Every Python block of the README and the guides, under its document and number."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [
        pytest.param(block, id=f"{document.name}-{number}")
        for document in documents
        for number, block in enumerate(
            re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.S | re.M), 1
        )
    ]


@pytest.mark.parametrize("block", examples())
def test_example_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "example", "exec"), {"__name__": "example"})


def test_readme_has_examples() -> None:
    assert sum("README" in str(example) for example in examples()) >= 2
