"""Files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ewa_rs.utils.files import atomic_path, read_json, write_json, write_text


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_text(tmp_path / "ours", "")
    usual, ours = ((tmp_path / name).stat().st_mode for name in ("usual", "ours"))
    assert ours == usual


@pytest.mark.parametrize(
    "content", [b"", b'{"a": ', b"[1, 2]", b"\xff\xfe"], ids=["empty", "cut", "list", "binary"]
)
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"result\.json: (damaged|expected)"):
        read_json(path)
