"""The wheel, in an environment with NumPy and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
#: What a shared library may need of a Linux system: glibc's libraries and GCC's.
SYSTEM = re.compile(r"linux-vdso|ld-linux|lib(c|m|dl|rt|pthread|gcc_s)\.so")

USE = """
import importlib.util
import numpy as np
import ewa_rs

assert importlib.util.find_spec("torch") is None
q, k, v = np.random.default_rng(0).standard_normal((3, 20, 9))
e = np.exp(q * k / 3)
np.testing.assert_allclose(
    ewa_rs.elementwise_attention(q, k, v), e / e.sum(-1, keepdims=True) * v, rtol=1e-12
)
try:
    import ewa_rs.nn
except ModuleNotFoundError as error:
    assert error.name == "torch"
print(ewa_rs.__file__)
"""


def run(*command: str | Path, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("CONDA_PREFIX", "PYTHONPATH")}
    result = subprocess.run(
        command, cwd=ROOT, env=env | environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, from what the installation of the package has compiled already."""
    environment = Path(sys.prefix)
    maturin = shutil.which("maturin", path=sysconfig.get_path("scripts"))
    if maturin is None or shutil.which("cargo") is None:
        pytest.skip("needs maturin and cargo")
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    folder = tmp_path_factory.mktemp("dist")
    run(
        maturin, "build", "--release", "--locked", "--out", folder,
        VIRTUAL_ENV=str(environment), PYO3_PYTHON=str(python),
    )  # fmt: skip
    (built,) = folder.iterdir()
    return built


def test_one_wheel_serves_every_python(wheel: Path) -> None:
    platform = {"linux": "(many|musl)linux", "darwin": "macosx", "win32": "win"}[sys.platform]
    assert re.fullmatch(rf"ewa_rs-[\d.]+-cp310-abi3-{platform}.*\.whl", wheel.name)


def test_contents(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"ewa_rs"}
    compiled = [name for name in names if name.endswith((".so", ".pyd", ".dylib", ".dll"))]
    assert [Path(name).name.partition(".")[0] for name in compiled] == ["_core"]
    assert "ewa_rs/py.typed" in names
    assert not [name for name in names if "__pycache__" in name or "test" in name]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the libraries as Linux lists them")
def test_links_to_the_system_alone(wheel: Path, tmp_path: Path) -> None:
    library = zipfile.ZipFile(wheel).extract("ewa_rs/_core.abi3.so", tmp_path)
    lines = [line.split()[0] for line in run("ldd", library).splitlines()]
    assert lines
    assert [line for line in lines if not SYSTEM.match(Path(line).name)] == []


def test_numpy_is_all_it_takes(wheel: Path, tmp_path: Path) -> None:
    """Installed without an index, pip finds every requirement there; and goes without a trace."""
    venv.create(tmp_path / "bare", symlinks=os.name == "posix")
    config = {"base": str(tmp_path / "bare"), "platbase": str(tmp_path / "bare")}
    packages = Path(sysconfig.get_path("purelib", "venv", config))
    for part in Path(np.__file__).parent.parent.glob("numpy*"):
        shutil.copytree(part, packages / part.name, ignore=shutil.ignore_patterns("tests"))
    before = {file.name for file in packages.iterdir()}
    python = Path(sysconfig.get_path("scripts", "venv", config)) / "python"
    pip = (sys.executable, "-m", "pip", "--python", str(python))
    run(*pip, "install", "--quiet", "--no-index", wheel)
    installed = run(python, "-c", USE).strip()
    assert Path(installed).is_relative_to(packages)
    run(*pip, "uninstall", "--quiet", "--yes", "ewa_rs")
    assert {file.name for file in packages.iterdir()} == before
