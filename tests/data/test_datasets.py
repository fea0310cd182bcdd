import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raysys.data.datasets import default_data_root, is_present, load_dataset
from raysys.errors import DataError
from raysys.records import Task

TASK = Task("mine", (3, 8, 8), 2, flip=False)
RED, GREEN = (200, 0, 0), (0, 200, 0)


def png(colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(folder: Path, colours: dict[str, tuple[int, int, int]], count: int = 5) -> None:
    for name, colour in colours.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            (folder / name / f"{index}.png").write_bytes(png(colour, (16, 12)))


def write_parquet(
    file: Path, labels: list[int], image_column: str = "img", label_column: str = "label"
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(RED if label == 0 else GREEN), "path": None} for label in labels]
    pq.write_table(pa.table({image_column: images, label_column: labels}), file)


def test_digits_is_bundled_and_its_split_is_stable(tmp_path: Path) -> None:
    digits = load_dataset("digits", tmp_path)
    assert digits.train_images.shape == (1000, 1, 8, 8)
    assert digits.test_images.shape == (797, 1, 8, 8)
    assert digits.train_images.dtype == np.uint8
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 255)
    assert np.bincount(digits.train_labels).min() >= 95
    assert digits.sha256 == "c29b88f18bd64d5551aef1d1a175a44aa6484534e0ce09a7e63579151f52eb71"


def test_a_folder_of_images_by_class_is_read_and_resized(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine" / "train", {"a": RED, "b": GREEN})
    write_folder(tmp_path / "mine" / "test", {"a": RED, "b": GREEN}, count=2)
    mine = load_dataset("mine", tmp_path, task=TASK)
    assert mine.train_images.shape == (10, 3, 8, 8)
    assert mine.test_labels.tolist() == [0, 0, 1, 1]
    assert tuple(mine.test_images[0, :, 4, 4]) == RED
    assert tuple(mine.test_images[-1, :, 4, 4]) == GREEN


def test_an_unsplit_folder_is_split_the_same_way_each_time(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"a": RED, "b": GREEN}, count=10)
    mine = load_dataset("mine", tmp_path, task=TASK)
    assert (len(mine.train_labels), len(mine.test_labels)) == (16, 4)
    assert mine.sha256 == load_dataset("mine", tmp_path, task=TASK).sha256


@pytest.mark.parametrize("folder", [".", "data"])
@pytest.mark.parametrize("columns", [("img", "label"), ("image", "fine_label")])
def test_parquet_in_the_hugging_face_layout_is_read(
    tmp_path: Path, folder: str, columns: tuple[str, str]
) -> None:
    write_parquet(tmp_path / "mine" / folder / "train-0.parquet", [0, 1, 1], *columns)
    write_parquet(tmp_path / "mine" / folder / "train-1.parquet", [0], *columns)
    write_parquet(tmp_path / "mine" / folder / "test.parquet", [1], *columns)
    mine = load_dataset("mine", tmp_path, task=TASK)
    assert mine.train_labels.tolist() == [0, 1, 1, 0]
    assert tuple(mine.train_images[1, :, 0, 0]) == GREEN
    assert mine.name == "mine"


@pytest.mark.parametrize(
    ("name", "place", "advice"),
    [("mnist", "MNIST/raw", "--download"), ("tiny_imagenet", "tiny_imagenet", "train.*parquet")],
)
def test_missing_data_names_the_folder_and_what_to_do(
    tmp_path: Path, name: str, place: str, advice: str
) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/{place}(?s:.*){advice}(?s:.*)--data-root"):
        load_dataset(name, tmp_path)


def test_an_unknown_data_set_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean: cifar10"):
        load_dataset("cifar-10", tmp_path)


def test_a_wrong_number_of_classes_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"a": RED, "b": GREEN, "c": RED})
    with pytest.raises(DataError, match=r"3 class folders.* 2 classes"):
        load_dataset("mine", tmp_path, task=TASK)


def test_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "mine" / "train.parquet", [0, 1, 2])
    with pytest.raises(DataError, match=r"labels 0\.\.2, but labels 0\.\.1"):
        load_dataset("mine", tmp_path, task=TASK)


def test_images_directly_in_the_folder_have_no_labels(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for index in range(5):
        (tmp_path / "mine" / f"{index}.png").write_bytes(png(GREEN, (16, 12)))
    (tmp_path / "mine" / "notes.txt").write_text("not an image")
    mine = load_dataset("mine", tmp_path, task=TASK)
    assert (mine.train_labels, mine.test_labels) == (None, None)
    assert mine.train_images.shape == (0, 3, 8, 8)
    assert mine.test_images.shape == (5, 3, 8, 8)
    assert tuple(mine.test_images[0, :, 4, 4]) == GREEN
    assert mine.sha256 == load_dataset("mine", tmp_path, task=TASK).sha256
    (tmp_path / "mine" / "0.png").write_bytes(png(RED))
    assert mine.sha256 != load_dataset("mine", tmp_path, task=TASK).sha256


@pytest.mark.parametrize("names", [("photos.parquet",), ("train.parquet", "test.parquet")])
def test_parquet_without_a_label_column_is_all_held_out(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        write_parquet(tmp_path / "mine" / name, [0, 1, 1], "image", "id")
    mine = load_dataset("mine", tmp_path, task=TASK)
    assert (mine.train_labels, mine.test_labels) == (None, None)
    assert len(mine.test_images) == 3 * len(names)
    assert tuple(mine.test_images[1, :, 0, 0]) == GREEN


def test_labels_for_training_only_are_no_data_set(tmp_path: Path) -> None:
    write_parquet(tmp_path / "mine" / "train.parquet", [0, 1])
    write_parquet(tmp_path / "mine" / "test.parquet", [0, 1], "image", "id")
    with pytest.raises(DataError, match=r"test\.parquet has no images with labels: .* image, id"):
        load_dataset("mine", tmp_path, task=TASK)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"a": RED, "b": GREEN})
    (tmp_path / "mine" / "b" / "3.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"cannot decode the image .*b/3\.png"):
        load_dataset("mine", tmp_path, task=TASK)


def test_parquet_without_images_or_complete_content_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine" / "train.parquet"
    write_parquet(file, [0, 1], image_column="picture")
    with pytest.raises(DataError, match="no images with labels: its columns are picture, label"):
        load_dataset("mine", tmp_path, task=TASK)
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match=r"cannot read .*train\.parquet"):
        load_dataset("mine", tmp_path, task=TASK)


def test_damaged_torchvision_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nsystem\n")
    with pytest.raises(DataError, match="cannot read data set cifar10"):
        load_dataset("cifar10", tmp_path)


def test_the_data_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAYSYS_DATA_ROOT", str(tmp_path))
    assert default_data_root() == tmp_path
    monkeypatch.delenv("RAYSYS_DATA_ROOT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_root() == tmp_path / "raysys" / "data"


@pytest.mark.data
def test_mnist_is_read_from_its_original_files(data_root: Path) -> None:
    if not is_present("mnist", data_root):
        pytest.skip(f"no MNIST below {data_root}")
    mnist = load_dataset("mnist", data_root)
    assert mnist.train_images.shape == (60000, 1, 28, 28)
    assert mnist.test_images.shape == (10000, 1, 28, 28)
    assert mnist.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


@pytest.mark.slow
@pytest.mark.data
def test_a_jpeg_copy_of_cifar10_is_never_called_cifar10(data_root: Path) -> None:
    if not (data_root / "cifar10").is_dir() or (data_root / "cifar-10-batches-py").is_dir():
        pytest.skip(f"no JPEG copy of CIFAR-10 below {data_root}")
    cifar = load_dataset("cifar10", data_root)
    assert (cifar.name, cifar.task.dataset) == ("cifar10-jpeg", "cifar10-jpeg")
    assert cifar.train_images.shape == (50000, 3, 32, 32)
    assert np.bincount(cifar.test_labels).tolist() == [1000] * 10
