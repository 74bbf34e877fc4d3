"""Data sets by name: the splits, image files of every kind, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ewa_rs.training.data import DataSet, data_directory, load_data


def folder_of_images(path: Path, *, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> Path:
    """Make train/ and test/ with two classes, four and two images each; class b is brighter."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("test", 2)):
        for name, brightness in (("a", 0), ("b", 128)):
            (path / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 128, (*size[::-1], 3), np.uint8) + np.uint8(brightness)
                Image.fromarray(pixels).convert(mode).save(path / part / name / f"{i}.png")
    return path


def fashion_mnist(path: Path, *, train: int = 20, test: int = 10) -> Path:
    """Lay out idx files as torchvision keeps them."""
    raw = path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(count) % 10)):
            header = bytes([0, 0, 8, array.ndim])
            header += b"".join(n.to_bytes(4, "big") for n in array.shape)
            content = header + array.astype(np.uint8).tobytes()
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(content)
    return path


def rows(data: DataSet) -> set[bytes]:
    """Return every image of the training and validation parts."""
    images = torch.cat((data.train.images, data.val.images))
    return {image.numpy().tobytes() for image in images}


def test_digits() -> None:
    data = load_data("digits")
    assert data.input_shape == (1, 8, 8)
    assert (len(data.train), len(data.val), len(data.test)) == (1294, 144, 359)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64
    assert data.class_names == tuple("0123456789")


def test_splits_follow_the_seed_and_the_test_part_does_not() -> None:
    first, again, other = (load_data("digits", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.val.images, again.val.images)
    assert not torch.equal(first.val.images, other.val.images)
    assert torch.equal(first.test.images, other.test.images)
    assert rows(first) == rows(other)
    assert len(load_data("digits", val_fraction=0).val) == 0


def test_moments_are_those_of_the_training_part(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "birds")
    data = load_data("imagefolder:birds", tmp_path, val_fraction=0.25)
    pixels = data.train.images.double() / 255
    np.testing.assert_allclose(data.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.std, pixels.std((0, 2, 3), correction=0), rtol=1e-12)


def test_fashion_mnist(tmp_path: Path) -> None:
    data = load_data("fashion-mnist", fashion_mnist(tmp_path), val_fraction=0.25)
    assert (len(data.train), len(data.val), len(data.test)) == (15, 5, 10)
    assert data.input_shape == (1, 28, 28)
    assert data.test.labels.tolist() == list(range(10))
    assert data.class_names[1] == "Trouser"
    fitted = load_data("fashion-mnist", tmp_path, image_size=14, channels=3)
    assert fitted.input_shape == (3, 14, 14)
    assert torch.equal(fitted.train.images[:, 0], fitted.train.images[:, 2])


def test_image_folder(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "birds")
    data = load_data("imagefolder:birds", tmp_path, val_fraction=0)
    assert data.name == "imagefolder:birds"
    assert data.class_names == ("a", "b")
    assert data.input_shape == (3, 5, 6)
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4
    bright = data.train.images.double().mean((1, 2, 3))
    assert bright[:4].max() < bright[4:].min()
    absolute = load_data(f"imagefolder:{tmp_path / 'birds'}")
    assert absolute.name == "imagefolder:birds"
    small = load_data("imagefolder:birds", tmp_path, image_size=4, channels=1)
    assert small.input_shape == (1, 4, 4)


def test_grey_files_stay_grey(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "grey", mode="L")
    assert load_data("imagefolder:grey", tmp_path).input_shape == (1, 5, 6)


@pytest.mark.parametrize("content", [b"", b"no image", "truncated"], ids=["empty", "text", "cut"])
def test_damaged_image_is_named(tmp_path: Path, content: bytes | str) -> None:
    folder = folder_of_images(tmp_path / "birds", size=(40, 40))
    bad = folder / "train" / "b" / "2.png"
    bad.write_bytes(bad.read_bytes()[:200] if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"b.2\.png: not a readable image"):
        load_data(f"imagefolder:{folder}")


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train is no folder; expected train/<class>"):
        load_data("imagefolder:nothing", tmp_path)
    folder = folder_of_images(tmp_path / "birds")
    (folder / "test" / "c").mkdir()
    with pytest.raises(ValueError, match="classes c are not in train"):
        load_data("imagefolder:birds", tmp_path)
    (folder / "train" / "c").mkdir()
    with pytest.raises(ValueError, match="train: no images of c"):
        load_data("imagefolder:birds", tmp_path)
    (folder / "train" / "c").rename(folder / "train" / ".c")
    (folder / "test" / "c").rename(folder / "test" / ".c")
    assert load_data("imagefolder:birds", tmp_path).class_names == ("a", "b")
    (tmp_path / "empty" / "train" / "a").mkdir(parents=True)
    (tmp_path / "empty" / "test" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match="no images; expected train/<class>"):
        load_data("imagefolder:empty", tmp_path)


def test_no_image_is_left_to_train_with(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "birds")
    with pytest.raises(ValueError, match=r"val_fraction: 0.95 of 8 images leaves none"):
        load_data("imagefolder:birds", tmp_path, val_fraction=0.95)


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"'mnist'.*digits, fashion-mnist, cifar10, imagefolder"):
        load_data("mnist")
    with pytest.raises(ValueError, match="imagefolder:PATH"):
        load_data("imagefolder:")


@pytest.mark.parametrize(("name", "belongs"), [("fashion-mnist", "ubyte.gz"), ("cifar10", "cifar")])
def test_download_that_cannot_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, belongs: str
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*no network.*{belongs}"):
        load_data(name, tmp_path)


def test_damaged_fashion_mnist(tmp_path: Path) -> None:
    file = fashion_mnist(tmp_path) / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match=f"FashionMNIST in {tmp_path} is .* damaged"):
        load_data("fashion-mnist", tmp_path)


def test_data_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EWA_DATA", str(tmp_path))
    assert data_directory() == tmp_path
    assert data_directory("elsewhere") == Path("elsewhere")
    monkeypatch.delenv("EWA_DATA")
    assert data_directory().name == "ewa_rs"
