"""The second largest neighbour is that of sorting each pixel's eight."""

import numpy as np
import pytest

from edge.neighbours import second_neighbour


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (7, 9)])
@pytest.mark.parametrize("levels", [2, 250])
def test_it_is_that_of_sorting(kind, shape, levels):
    values = np.random.default_rng(0).integers(0, levels, shape).astype(kind)
    padded = np.pad(values, 1)
    for row in range(shape[0]):
        for column in range(shape[1]):
            around = padded[row : row + 3, column : column + 3].ravel()
            expected = np.sort(np.delete(around, 4))[-2]
            assert second_neighbour(values)[row, column] == expected
