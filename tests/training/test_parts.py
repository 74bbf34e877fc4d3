"""Metrics and precisions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as reference_matrix

from ewa_rs.models import create_model
from ewa_rs.training import device as devices
from ewa_rs.training.data.batches import Normaliser
from ewa_rs.training.device import pick_memory_format, resolve_precision
from ewa_rs.training.distributed import ALONE
from ewa_rs.training.evaluation import predict_logits
from ewa_rs.training.metrics import Totals, class_scores, confusion_matrix
from ewa_rs.training.setup import epoch_seed


def model(name: str) -> torch.nn.Module:
    return create_model(name, input_shape=(1, 8, 8), num_classes=10)


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(st.integers(1, 6), st.data())
def test_confusion_matrix(classes: int, data: st.DataObject) -> None:
    pairs = st.tuples(*[st.integers(0, classes - 1)] * 2)
    labels, predicted = zip(*data.draw(st.lists(pairs, min_size=1, max_size=30)), strict=True)
    matrix = confusion_matrix(torch.tensor(predicted), torch.tensor(labels), classes)
    expected = reference_matrix(labels, predicted, labels=range(classes))
    np.testing.assert_array_equal(matrix, expected)
    scores = class_scores(matrix, tuple(map(str, range(classes))))
    assert scores["accuracy"] == pytest.approx(np.mean(np.equal(labels, predicted)))
    for i, accuracy in enumerate(scores["class_accuracy"].values()):
        mine = [p == i for label, p in zip(labels, predicted, strict=True) if label == i]
        assert accuracy == (pytest.approx(np.mean(mine)) if mine else None)


def test_totals_weigh_batches_by_their_size() -> None:
    totals = Totals(torch.device("cpu"))
    logits = torch.tensor([[2.0, 0.0]]).expand(4, 2)
    totals.add(torch.tensor(1.0), logits[:1], torch.tensor([0]))
    totals.add(torch.tensor(3.0), logits[:3], torch.tensor([0, 1, 1]))
    assert totals.means(ALONE) == (2.5, 0.5)


def test_logits_do_not_depend_on_the_batches() -> None:
    images = torch.randint(256, (700, 1, 8, 8), dtype=torch.uint8)
    normalise, network = Normaliser([0.5], [0.5]), model("vgg_like")
    whole = predict_logits(network, images, normalise, "fp32")
    parts = torch.cat([predict_logits(network, i, normalise, "fp32") for i in images.split(300)])
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
    assert network.training


@pytest.mark.parametrize(
    ("name", "kind", "capability", "bf16", "expected"),
    [
        ("vgg_like", "cpu", None, True, "bf16"),
        ("vgg_like", "cpu", None, False, "fp32"),
        ("vgg_like", "cuda", (7, 5), False, "fp16"),
        ("vgg_like", "cuda", (8, 0), False, "bf16"),
        ("ewa", "cpu", None, True, "fp32"),
        ("linear", "cuda", (9, 0), True, "fp32"),
    ],
)
def test_automatic_precision(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    capability: tuple[int, int] | None,
    bf16: bool,
    expected: str,
) -> None:
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_precision("auto", torch.device(kind), model(name)) == expected
    assert resolve_precision("fp16", torch.device(kind), model(name)) == "fp16"
    with pytest.raises(ValueError, match=r"precision: expected auto, .*'fp8'"):
        resolve_precision("fp8", torch.device(kind), model(name))


def test_channels_last_is_for_convolutions() -> None:
    assert pick_memory_format(model("vgg_like"), channels_last=True) is torch.channels_last
    assert pick_memory_format(model("vgg_like"), channels_last=False) is torch.contiguous_format
    assert pick_memory_format(model("ewa"), channels_last=True) is torch.contiguous_format


def test_seeds_of_epochs_differ() -> None:
    seeds = {epoch_seed(seed, epoch) for seed in range(20) for epoch in range(20)}
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
