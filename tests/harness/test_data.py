"""Image data: what every source gives, and every refusal of a malformed one."""

import gzip
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from experiments._harness.data import DATASETS, load_images
from experiments._harness.data_types import scaled
from experiments._harness.errors import UserError

TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array, magic=None):
    """The IDX bytes of an array of bytes."""
    magic = 0x0800 + array.ndim if magic is None else magic
    header = struct.pack(f">{1 + array.ndim}i", magic, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder, names, count, *, side=5, gz=True, seed=0):
    """A small pair of files; returns the images and labels in them."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, side, side), np.uint8)
    labels = rng.integers(0, 10, count, np.uint8)
    for name, array in zip(names, (pixels, labels), strict=True):
        if gz:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))
    return pixels, labels


def check_common(data):
    """What holds for every source."""
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ):
        assert images.dtype == np.float32
        assert images.ndim == 4
        assert images.min() >= -1
        assert images.max() <= 1
        assert images.shape[1:] == data.shape
        steps = (images.astype(np.float64) + 1) / 2 * (data.levels - 1)
        np.testing.assert_allclose(steps, steps.round(), atol=1e-4)
        if labels is not None:
            assert labels.dtype == np.int32
            assert labels.shape == images.shape[:1]
    assert len(data.source) > 20


def test_digits():
    data = load_images("digits")
    check_common(data)
    assert (data.shape, data.levels, data.num_classes) == ((8, 8, 1), 17, 10)
    assert len(data.train_images) + len(data.test_images) == 1797
    assert data.train_images.min() == -1
    assert data.train_images.max() == 1
    shares = np.bincount(data.test_labels) / np.bincount(data.train_labels)
    np.testing.assert_allclose(shares, 0.25, atol=0.015)
    again = load_images("digits")
    np.testing.assert_array_equal(data.test_images, again.test_images)
    both = np.concatenate([data.train_images, data.test_images])
    hist = np.bincount(((both + 1) * 8).astype(int).ravel(), minlength=17)
    assert hist.sum() == 1797 * 64
    assert (hist > 0).all()


def test_digits_without_scikit_learn(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(UserError, match=r"scikit-learn: .*'kexue_jax\[experiments\]'"):
        load_images("digits")


@pytest.mark.parametrize("gz", [True, False])
def test_mnist_files(tmp_path, gz):
    pixels, labels = write_mnist(tmp_path, TRAIN, 30, gz=gz)
    test_pixels, test_labels = write_mnist(tmp_path, TEST, 7, gz=gz, seed=1)
    data = load_images("mnist", str(tmp_path))
    check_common(data)
    assert (data.levels, data.name, data.shape) == (256, "mnist", (5, 5, 1))
    np.testing.assert_array_equal(data.train_labels, labels)
    np.testing.assert_array_equal(data.test_labels, test_labels)
    expected = pixels[..., None] / 127.5 - 1
    np.testing.assert_allclose(data.train_images, expected, atol=1e-6)
    assert data.test_images.shape == (*test_pixels.shape, 1)


def test_the_t10k_pair_alone_is_split_nine_to_one_and_says_so(tmp_path):
    pixels, labels = write_mnist(tmp_path, TEST, 50)
    data = load_images("mnist", str(tmp_path))
    assert "t10k images only" in data.source
    assert "split 45/5" in data.source
    rows = np.concatenate([data.train_images, data.test_images])
    targets = np.concatenate([data.train_labels, data.test_labels])
    key = lambda a: np.lexsort(a.reshape(len(a), -1).T)  # noqa: E731
    originals = scaled(pixels[..., None], 256)
    np.testing.assert_array_equal(rows[key(rows)], originals[key(originals)])
    np.testing.assert_array_equal(targets[key(rows)], labels[key(originals)])
    again = load_images("mnist", str(tmp_path))
    np.testing.assert_array_equal(again.test_images, data.test_images)


def replaced(name, content):
    """A damage: the file ``name`` with other bytes."""
    return lambda folder: (folder / name).write_bytes(content)


IMAGES = np.zeros((6, 5, 5), np.uint8)
WHOLE = idx(IMAGES)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (replaced(TRAIN[0], idx(IMAGES, magic=0x0801)), "magic number 0x00000801"),
        (replaced(TRAIN[0], b"\x89PNG" + WHOLE[4:]), "magic number 0x89504e47"),
        (replaced(TRAIN[0], WHOLE[:-1]), "149 bytes after the header"),
        (replaced(TRAIN[0], WHOLE + b"x"), "151 bytes after the header"),
        (replaced(TRAIN[0], WHOLE[:9]), "cut short in its header"),
        (replaced(TRAIN[0], b""), "cut short in its header"),
        (replaced(TRAIN[0], idx(IMAGES[:0])), "empty, of shape"),
        (replaced(TRAIN[0], idx(np.zeros((2**5, 2, 2)))), "6 labels for the 32 images"),
        (replaced(TRAIN[1], idx(np.zeros(5))), "5 labels for the 6 images"),
        (replaced(TRAIN[1], idx(np.zeros(5), magic=0x0D01)), "magic number 0x00000d01"),
        (replaced(TEST[0], idx(np.zeros((6, 4, 5)))), r"images of \(4, 5\) pixels"),
    ],
)
def test_malformed_idx_files_are_refused_by_name(tmp_path, damage, said):
    write_mnist(tmp_path, TRAIN, 6, gz=False)
    write_mnist(tmp_path, TEST, 6, gz=False)
    damage(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        load_images("mnist", str(tmp_path))
    assert any(name in str(caught.value) for name in (*TRAIN, *TEST))


@pytest.mark.parametrize("cut", [3, 20, -9])
def test_a_damaged_gzip_file_is_refused_by_name(tmp_path, cut):
    write_mnist(tmp_path, TEST, 6)
    path = tmp_path / f"{TEST[0]}.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError, match=rf"{TEST[0]}\.gz: cannot be read"):
        load_images("mnist", str(tmp_path))


def test_a_flipped_byte_in_a_gzip_file_is_refused_by_name(tmp_path):
    write_mnist(tmp_path, TEST, 6)
    path = tmp_path / f"{TEST[0]}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{TEST[0]}"):
        load_images("mnist", str(tmp_path))


@pytest.mark.parametrize("dataset", [d for d in DATASETS if d != "digits"])
def test_a_wrong_folder_says_what_was_looked_for(dataset, tmp_path):
    looked_for = {
        "mnist": (*TRAIN, *TEST),
        "cifar10": ("data_batch_1.bin", "data_batch_5.bin", "test_batch.bin"),
        "folder": ("*.png", "*.jpg", "*.bmp"),
    }[dataset]
    with pytest.raises(UserError) as caught:
        load_images(dataset, str(tmp_path))
    for part in (f"--data_dir={tmp_path}", *looked_for):
        assert part in str(caught.value)
    for missing in (tmp_path / "none", tmp_path / "file"):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="--data_dir="):
            load_images(dataset, str(missing))
    with pytest.raises(UserError, match=f"--dataset={dataset} needs --data_dir"):
        load_images(dataset)


@pytest.mark.parametrize(
    "kept", [TRAIN, TRAIN[:1], TEST[:1], TEST[1:], TRAIN + TEST[:1]]
)
def test_files_that_are_missing_are_named(tmp_path, kept):
    write_mnist(tmp_path, TRAIN, 6)
    write_mnist(tmp_path, TEST, 6)
    for name in set(TRAIN + TEST) - set(kept):
        (tmp_path / f"{name}.gz").unlink()
    with pytest.raises(UserError) as caught:
        load_images("mnist", str(tmp_path))
    for name in TRAIN + TEST:
        assert (f"{name}[.gz]" in str(caught.value)) == (name not in kept)


def write_cifar(folder, count=4):
    rng = np.random.default_rng(0)
    for number in range(6):
        name = "test_batch.bin" if number == 5 else f"data_batch_{number + 1}.bin"
        records = rng.integers(0, 256, (count, 3073), np.uint8)
        records[:, 0] = np.arange(count) + number
        (folder / name).write_bytes(records.tobytes())
    return records


@pytest.mark.parametrize("below", ["", "cifar-10-batches-bin"])
def test_cifar10(tmp_path, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    last = write_cifar(folder)
    data = load_images("cifar10", str(tmp_path))
    check_common(data)
    assert data.shape == (32, 32, 3)
    assert data.train_images.shape == (20, 32, 32, 3)
    np.testing.assert_array_equal(data.test_labels, [5, 6, 7, 8])
    red, blue = last[0, 1 : 1 + 1024], last[0, 1 + 2048 :]
    pixels = ((data.test_images[0] + 1) * 127.5).round()
    np.testing.assert_array_equal(pixels[..., 0].ravel(), red)
    np.testing.assert_array_equal(pixels[..., 2].ravel(), blue)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes are no whole number of records"),
        (bytes(3072), "3072 bytes are no whole number"),
        (bytes(3074), "3074 bytes are no whole number"),
        (b"\x0a" + bytes(3072), "a label of 10, wanted 0 to 9"),
    ],
)
def test_malformed_cifar10_files_are_refused_by_name(tmp_path, content, said):
    write_cifar(tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(UserError, match=rf"data_batch_3\.bin: {said}"):
        load_images("cifar10", str(tmp_path))


def write_images(folder, count, *, size=(20, 12), suffix="png", mode="RGB"):
    folder.mkdir(exist_ok=True, parents=True)
    for number in range(count):
        image = Image.new("RGB", size, (255, 0, number))
        image.convert(mode).save(folder / f"{number:02d}.{suffix}")


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("png", "RGB"), ("png", "L"), ("png", "RGBA"), ("jpg", "RGB"), ("BMP", "RGB")],
)
def test_a_folder_of_images(tmp_path, suffix, mode):
    write_images(tmp_path, 12, suffix=suffix, mode=mode)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_text("not an image")
    data = load_images("folder", str(tmp_path), image_size=8)
    check_common(data)
    assert data.shape == (8, 8, 3)
    assert data.train_labels is None
    assert data.num_classes == 0
    assert data.train().keys() == {"image"}
    assert (len(data.train_images), len(data.test_images)) == (11, 1)
    if mode != "L" and suffix != "jpg":
        np.testing.assert_array_equal(
            data.train_images[..., :2], [[[[1, -1]] * 8] * 8] * 11
        )


def test_subfolders_are_classes(tmp_path):
    write_images(tmp_path / "cats", 15)
    write_images(tmp_path / "dogs", 15, size=(9, 30))
    write_images(tmp_path / ".cache", 3)
    data = load_images("folder", str(tmp_path), image_size=4)
    labels = np.concatenate([data.train_labels, data.test_labels])
    np.testing.assert_array_equal(np.bincount(labels), [15, 15])
    assert data.train().keys() == {"image", "label"}


def test_the_crop_is_the_middle(tmp_path):
    for name, size, box in (
        ("wide", (30, 10), (10, 0, 20, 10)),
        ("high", (10, 30), (0, 10, 10, 20)),
    ):
        image = Image.new("RGB", size, (0, 0, 0))
        image.paste((255, 255, 255), box)
        image.save(tmp_path / f"{name}.png")
    data = load_images("folder", str(tmp_path), image_size=10)
    assert (data.train_images == 1).all()
    assert (data.test_images == 1).all()


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_an_unreadable_image_is_refused_by_name(tmp_path, content):
    write_images(tmp_path, 4, size=(64, 64))
    path = tmp_path / "02.png"
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    with pytest.raises(UserError, match=r"02\.png: not a readable image"):
        load_images("folder", str(tmp_path), image_size=8)


def test_images_on_two_levels_are_refused(tmp_path):
    write_images(tmp_path, 2)
    write_images(tmp_path / "cats", 2)
    with pytest.raises(UserError, match=r"00\.png, cats/00\.png"):
        load_images("folder", str(tmp_path))


def test_an_unknown_dataset_is_refused():
    with pytest.raises(UserError, match="--dataset=svhn: wanted one of digits, mnist"):
        load_images("svhn")
