"""PNG files read back by an independent reader."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from dflow.render.png import encode_png


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (64, 256, 3)])
def test_a_picture_reads_back_as_it_was(shape):
    picture = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    content = encode_png(picture)
    with Image.open(io.BytesIO(content)) as read:
        assert read.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(read), picture)
    assert encode_png(picture) == content


def test_a_picture_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="float64"):
        encode_png(np.zeros((4, 4, 3)))
