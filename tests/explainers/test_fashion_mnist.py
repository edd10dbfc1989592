import gzip
import json
import struct

import torch

from explainers.fashion_mnist import CLASSES, DATA, fashion_mnist


def test_what_ships():
    data = fashion_mnist()
    for images, labels, each in (
        (data.train_images, data.train_labels, 1200),
        (data.test_images, data.test_labels, 200),
    ):
        assert images.shape == (10 * each, 1, 28, 28)
        assert images.dtype == torch.uint8
        assert labels.dtype == torch.int64
        assert labels.bincount().tolist() == [each] * 10
        assert images.amin() == 0
        assert images.amax() == 255


def test_the_pictures_are_the_originals():
    """The first labels of the original's two parts, and the mean that is quoted for it, 0.286."""
    data = fashion_mnist()
    assert data.train_labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert data.test_labels[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    assert abs(data.train_images.float().mean() / 255 - 0.286) < 0.002


def test_classes_are_those_of_the_file():
    content = gzip.decompress(DATA.read_bytes())
    (length,) = struct.unpack_from("<Q", content)
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    assert json.loads(metadata["classes"]) == list(CLASSES)


def test_the_file_stays_small():
    assert DATA.stat().st_size <= 6.5e6
