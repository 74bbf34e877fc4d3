"""No file imports from above its room, and no files import one another in a circle."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.architecture import ROOT, Tree, read

TREES = {"rust": ROOT / "rust", "python": ROOT / "python" / "ewa_rs"}


@pytest.fixture(scope="module", params=TREES)
def tree(request: pytest.FixtureRequest) -> Tree:
    return read(TREES[request.param])


def test_the_arrows_are_seen(tree):
    assert len(tree.arrows) >= 150


def test_no_circles(tree):
    assert tree.circles() == []


def test_no_offences(tree):
    assert tree.offences() == []


def make(root: Path, files: dict[str, str]) -> Tree:
    """Write files below `root` and read them."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read(root)


def rust(root: Path, **files: str) -> Tree:
    """Read a crate of these files; `__` in a name stands for `/`."""
    texts = {f"{name.replace('__', '/')}.rs": text for name, text in files.items()}
    return make(root, {"lib.rs": "pub mod simd;", **texts})


def python(root: Path, files: dict[str, str]) -> Tree:
    """Read a package `ewa_rs` of these files, and every folder's `__init__.py`."""
    folders = {Path(), *(Path(name).parent for name in files)}
    return make(root / "ewa_rs", {f"{folder / '__init__.py'}": "" for folder in folders} | files)


RUST_IMPORTS = {
    "a path from the crate": "use crate::simd::vector::Vector;",
    "a nested group": "use crate::{threads::Pool, simd::{element::{self, Y}, vector::Vector}};",
    "another name": "use crate::simd::vector::Vector as V;",
    "a re-export": "use crate::simd::Vector;",
    "a re-export in turn": "use crate::simd::Renamed;",
    "a glob": "use crate::simd::vector::*;",
    "a path in the code": "fn f() -> crate::simd::vector::Vector {}",
    "a module's item": "use crate::simd;\nfn f(x: simd::Vector) {}",
    "a module's module": "use crate::simd::vector;\nfn f() { vector::add(1) }",
    "an import in a function": "fn f() { use crate::simd::vector::Vector; }",
    "a public import": "pub use crate::simd::vector::Vector;",
    "a macro": "fn f() { packed!(1) }",
    "after text": 'const X: (&str, char) = ("// \\" /*", \'"\');\nuse crate::simd::vector::Vector;',
}


@pytest.mark.parametrize("code", RUST_IMPORTS.values(), ids=RUST_IMPORTS)
def test_rust_imports(tmp_path, code):
    simd = "mod element;\nmod vector;\npub use vector::Vector;\npub use self::Vector as Renamed;"
    files = {
        "simd__mod": simd,
        "simd__element": "pub struct Y;",
        "simd__vector": "pub struct Vector;\nmacro_rules! packed { () => {} }",
        "threads": "pub struct Pool;",
    }
    tree = rust(tmp_path, bandwidth=code, **files)
    assert ("bandwidth.rs", "simd/vector.rs") in tree.arrows
    assert {source for source, _ in tree.arrows} == {"bandwidth.rs"}  # a re-export is no arrow
    assert not tree.circles() and not tree.offences()


def test_rust_reads_relative_paths(tmp_path):
    tree = rust(
        tmp_path,
        simd__mod="mod array;\nmod element;\nmod avx2;\nuse element::Element;",
        simd__element="pub struct Element;",
        simd__array="use super::element::Element;",
        simd__avx2__mod="mod f16;\nuse self::f16::Half;",
        simd__avx2__f16="use super::super::array::Array;\nfn f() { super::super::dispatch() }",
    )
    assert set(tree.arrows) == {
        ("simd/mod.rs", "simd/element.rs"),
        ("simd/array.rs", "simd/element.rs"),
        ("simd/avx2/mod.rs", "simd/avx2/f16.rs"),
        ("simd/avx2/f16.rs", "simd/array.rs"),
        ("simd/avx2/f16.rs", "simd/mod.rs"),
    }


def test_rust_ignores_comments_texts_and_tests(tmp_path):
    code = """
        // use crate::threads::Pool;
        /* use crate::threads::Pool; */
        const X: &str = "crate::threads::Pool";
        fn f<'a>(x: &'a str) {}
        #[cfg(test)]
        mod tests {
            use crate::threads::Pool;
            fn g() { if true {} }
        }
        use crate::tensor::Dims;
    """
    files = {"tests__main": "use crate::threads::Pool;", "threads": "", "tensor": ""}
    assert rust(tmp_path, simd=code, **files).arrows == {("simd.rs", "tensor.rs"): {"Dims"}}


def test_rust_finds_circles(tmp_path):
    tree = rust(
        tmp_path,
        simd__mod="mod a;\nmod b;\nmod c;",
        simd__a="use super::b::B;",
        simd__b="fn f() { super::c::g() }",
        simd__c="use crate::simd::{a::A, d};",
        simd__d="",
    )
    assert tree.circles() == [("simd/a.rs", "simd/b.rs", "simd/c.rs")]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("simd", "threads"),
        ("attention__op", "attention__kernel"),
        ("attention__kernel", "attention__ops"),  # side by side
        ("pooling", "attention__block"),  # apart, though below
        ("attention__schedule", "pooling"),
    ],
)
def test_rust_finds_offences(tmp_path, source, target):
    code = f"use crate::{target.replace('__', '::')}::Item;"
    tree = rust(tmp_path, attention__mod="", **{source: code, target: ""})
    source, target = (f"{name.replace('__', '/')}.rs" for name in (source, target))
    assert tree.offences() == [f"{source} -> {target}: Item"]
    assert f"  {source} -> {target}: Item" in str(tree).splitlines()


def test_a_file_in_no_room_is_an_offence(tmp_path):
    assert rust(tmp_path, elsewhere="").offences() == ["elsewhere.rs: in no room"]


PYTHON_IMPORTS = {
    "a name": "from ewa_rs.nn.layer import Layer",
    "a module": "from ewa_rs.nn import layer",
    "another name": "import ewa_rs.nn.layer as layers",
    "a re-export": "from ewa_rs.nn import Layer",
    "a re-export's other name": "from ewa_rs.nn import Renamed",
    "a relative import": "from ..nn.layer import Layer",
    "in a function": "def f():\n    from ewa_rs.nn.layer import Layer",
    "for types": "if TYPE_CHECKING:\n    from ewa_rs.nn.layer import Layer",
    "a text": "import importlib\nimportlib.import_module('ewa_rs.nn.layer')",
    "a text in parts": "from importlib import import_module\nimport_module(f'ewa_rs.nn.{name}')",
}


@pytest.mark.parametrize("code", PYTHON_IMPORTS.values(), ids=PYTHON_IMPORTS)
def test_python_imports(tmp_path, code):
    exports = "from ewa_rs.nn.layer import Layer, Layer as Renamed"
    files = {"nn/layer.py": "", "nn/__init__.py": exports}
    tree = python(tmp_path / "down", {**files, "models/ewa.py": code})
    assert set(tree.arrows) - {("nn/__init__.py", "nn/layer.py")} == {
        ("models/ewa.py", "nn/layer.py")
    }
    assert not tree.offences() and not tree.circles()
    tree = python(tmp_path / "up", {**files, "ops/ewa.py": code})
    assert [line.split(":")[0] for line in tree.offences()] == ["ops/ewa.py -> nn/layer.py"]


def test_what_a_file_passes_on_is_an_import_of_that_file(tmp_path):
    files = {
        "ops/a.py": "",
        "ops/b.py": "from ewa_rs.ops.a import x",
        "nn/c.py": "from ewa_rs.ops.b import x",
    }
    arrows = python(tmp_path / "python", files).arrows
    assert set(arrows) == {("ops/b.py", "ops/a.py"), ("nn/c.py", "ops/b.py")}
    modules = {"tensor": "", "simd": "pub use crate::tensor::X;", "threads": "use crate::simd::X;"}
    arrows = rust(tmp_path / "rust", **modules).arrows
    assert set(arrows) == {("simd.rs", "tensor.rs"), ("threads.rs", "simd.rs")}


@pytest.mark.parametrize("code", ["import ewa_rs", "from ewa_rs import attention"])
def test_python_does_not_import_the_root(tmp_path, code):
    root = "from ewa_rs.ops.attention import attention"
    files = {"__init__.py": root, "ops/attention.py": "", "nn/layer.py": code}
    (offence,) = python(tmp_path, files).offences()
    assert offence.startswith("nn/layer.py -> __init__.py: ")


def test_python_imports_submodules_of_the_root(tmp_path):
    code = "from ewa_rs import _core, ops"
    tree = python(tmp_path, {"__init__.py": "", "_core.pyi": "", "ops/a.py": "", "nn/a.py": code})
    assert set(tree.arrows) == {("nn/a.py", "_core.pyi"), ("nn/a.py", "ops/__init__.py")}
    assert not tree.offences()


def test_python_finds_circles(tmp_path):
    files = {
        "ops/a.py": "from ewa_rs.ops.b import x",
        "ops/b.py": "def f():\n    from ewa_rs.ops import c",
        "ops/c.py": "if TYPE_CHECKING:\n    from ewa_rs.ops.a import y\nimport ewa_rs.ops.d",
        "ops/d.py": "",
    }
    tree = python(tmp_path, files)
    assert tree.circles() == [("ops/a.py", "ops/b.py", "ops/c.py")]
    assert "  ops/a.py <-> ops/b.py <-> ops/c.py" in str(tree).splitlines()
