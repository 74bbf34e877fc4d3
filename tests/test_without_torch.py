"""NumPy is enough: importing the package never imports torch, nor does the NumPy path need it."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import ewa_rs


def run(script: str) -> str:
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_the_package_does_not_import_torch() -> None:
    assert run("import sys, ewa_rs; print('torch' in sys.modules)") == "False"


def test_calling_with_arrays_does_not_import_torch() -> None:
    script = """
import sys, numpy as np, ewa_rs
from ewa_rs.ops.elementwise_self_attention import reference
x = np.ones((2, 3))
ewa_rs.elementwise_attention(x, x.tolist(), x, mask=x > 0)
ewa_rs.elementwise_self_attention(x, x, x, x, out=x)
print('torch' in sys.modules)
"""
    assert run(script) == "False"


def test_everything_for_arrays_works_where_torch_is_missing() -> None:
    script = """
import sys
sys.modules["torch"] = None  # import torch: ImportError
import numpy as np, ewa_rs
from ewa_rs.ops.elementwise_attention.reference import reference
from ewa_rs.ops.elementwise_self_attention.reference import reference as self_reference
q, k, v = np.random.default_rng(0).standard_normal((3, 20, 9))
mask = q > -0.5
y, a = ewa_rs.elementwise_attention(q, k, v, axis=(0, 1), mask=mask, return_weights=True)
np.testing.assert_allclose(y, reference(q, k, v, axis=(0, 1), mask=mask)[0], rtol=1e-13)
y = ewa_rs.elementwise_self_attention(q.tolist(), k, v, k, b_q=v, out=np.empty_like(q))
np.testing.assert_allclose(y, self_reference(q, k, v, k, b_q=v)[0], rtol=1e-13)
ewa_rs.set_num_threads(1)
for wrong in (np.ones(3, int), ["a"], object()):
    try:
        ewa_rs.elementwise_attention(wrong, k, v)
    except TypeError as error:
        assert str(error).startswith("q: "), error
    else:
        raise AssertionError("no TypeError")
print("fine")
"""
    assert run(script) == "fine"


def test_what_needs_torch_says_so_where_it_is_missing() -> None:
    script = """
import sys
sys.modules["torch"] = None
import ewa_rs
try:
    import ewa_rs.nn
except ImportError as error:
    print("torch" in str(error))
"""
    assert run(script) == "True"


def test_modules_are_there_when_they_are_asked_for() -> None:
    script = """
import sys, ewa_rs
names = ["inference", "models", "nn", "pretrained", "training"]
assert not any(f"ewa_rs.{name}" in sys.modules for name in names)
assert set(names) | {"decompositions", "elementwise_attention"} <= set(dir(ewa_rs))
ewa_rs.pretrained.list_pretrained
ewa_rs.inference.load
assert "loop" in dir(ewa_rs.training)
print('torch' in sys.modules)
ewa_rs.nn.ElementwiseSelfAttention
ewa_rs.models.create_model
ewa_rs.training.loop.train
"""
    assert run(script) == "False"


@pytest.mark.parametrize("module", [ewa_rs, ewa_rs.training], ids=lambda module: module.__name__)
def test_an_unknown_name_is_an_attribute_error_as_python_words_it(module: ModuleType) -> None:
    message = f"module '{module.__name__}' has no attribute 'nnn'"
    with pytest.raises(AttributeError, match=f"^{message}$"):
        module.nnn  # noqa: B018


def test_the_command_starts_without_what_takes_long_to_import() -> None:
    script = """
import sys
from ewa_rs.cli import app
print({"torch", "matplotlib", "PIL", "ewa_rs.training"} & set(sys.modules))
"""
    assert run(script) == "set()"
