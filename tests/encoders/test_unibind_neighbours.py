"""Neighbourhoods: against brute force in numpy, and the gather's derivative against adding up place by place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from advcal_edge.encoders.unibind.point import add_up, board_columns, gather, nearest, squared_distances


def test_distances_of_near_points_keep_their_digits() -> None:
    left = torch.tensor([[[1.0, 1.0, 1.0]]])
    right = left + torch.tensor([2.0**-20, 0.0, 0.0])
    assert squared_distances(left, right).item() == 2.0**-40


def test_nearest_are_those_of_a_full_sort() -> None:
    rng = np.random.default_rng(0)
    points, centers = rng.standard_normal((2, 40, 3)), rng.standard_normal((2, 5, 3))
    found = nearest(torch.from_numpy(points), torch.from_numpy(centers), 7).numpy()
    for cloud in range(2):
        for center in range(5):
            order = np.argsort(np.linalg.norm(points[cloud] - centers[cloud, center], axis=1))
            np.testing.assert_array_equal(found[cloud, center], order[:7])


def test_gather_takes_rows_of_its_own_cloud() -> None:
    values = torch.arange(2 * 4 * 3.0).reshape(2, 4, 3)
    index = torch.tensor([[[0, 3], [2, 2]], [[1, 0], [3, 1]]])
    found = gather(values, index)
    assert torch.equal(found[0, 0, 1], values[0, 3])
    assert torch.equal(found[1, 1, 0], values[1, 3])


@pytest.mark.parametrize("places", [1, 7, 96, 513, 8192])
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_rows_add_up_at_their_places(places: int, channels: int) -> None:
    rng = np.random.default_rng(places)
    rows, index = rng.standard_normal((2, 300, channels)), rng.integers(0, places, (2, 300))
    expected = np.zeros((2, places, channels))
    for cloud in range(2):
        np.add.at(expected[cloud], index[cloud], rows[cloud])
    found = add_up(torch.from_numpy(rows), torch.from_numpy(index), places)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_the_derivative_of_gather_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)
    index = torch.randint(0, 9, (2, 4, 5), generator=generator)
    v = torch.randn(2, 4, 5, 3, generator=generator, dtype=torch.float64)
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    gather(ours, index).backward(v)
    theirs[torch.arange(2)[:, None, None], index].backward(v)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_board_is_far_smaller_than_one_matrix_of_all_places() -> None:
    columns = board_columns(8192, 3)
    assert columns == 64
    assert 8192 // columns + 3 * columns < 8192 / 20
