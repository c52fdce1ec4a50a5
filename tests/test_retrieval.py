from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from advcal_edge.centers import Centers
from advcal_edge.retrieval import TIE, Recall, gallery, label_rank, neighbour_places, recall, share


def unit_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_ranks_agree_with_sorting_in_both_directions() -> None:
    z, partner = unit_rows(30, 5), unit_rows(30, 5, 1)
    similarity = z @ partner.T
    found = recall(z, partner)
    for i in range(30):
        assert np.argsort(-similarity[i])[found.forward[i]] == i
        assert np.argsort(-similarity[:, i])[found.backward[i]] == i


def test_a_tie_counts_as_lost() -> None:
    constant = np.tile(unit_rows(1, 4), (6, 1))
    found = recall(constant, constant)
    assert found.forward.tolist() == found.backward.tolist() == [5] * 6


def test_what_is_not_finite_takes_the_last_place_and_moves_nobody_down() -> None:
    partner = unit_rows(5, 8)
    z = partner.copy()
    z[1, 0], z[3] = np.nan, np.inf
    found = recall(z, partner)
    assert found.forward.tolist() == found.backward.tolist() == [0, 4, 0, 4, 0]


def test_recall_is_monotone_in_k_and_carries_intervals() -> None:
    ranks = np.array([0, 3, 7, 20])
    described = Recall(ranks, ranks).to_json()["forward"]
    assert {name: found["accuracy"] for name, found in described.items()} == {
        "recall@1": 0.25,
        "recall@5": 0.5,
        "recall@10": 0.75,
    }
    assert all(found["interval"][0] < found["accuracy"] < found["interval"][1] for found in described.values())
    assert share(ranks < 1)["hits"] == 1


def test_finding_a_partner_is_classification_with_the_gallery_as_centers() -> None:
    z, partner = unit_rows(20, 6), unit_rows(20, 6, 1)
    rank = label_rank(gallery(partner), z, np.arange(20))
    assert rank.tolist() == recall(z, partner).forward.tolist()


@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5)], ids=["one center", "several"])
@given(seed=st.integers(0, 50))
def test_rank_zero_is_what_predict_calls_right(shape: tuple[int, ...], seed: int) -> None:
    vectors = unit_rows(int(np.prod(shape[:-1])), shape[-1]).reshape(shape)
    centers = Centers(tuple("abcd"), vectors, 0.1, "test")
    z, y = unit_rows(12, 5, seed + 2), np.random.default_rng(seed).integers(0, 4, 12)
    z[0] = np.nan
    rank = label_rank(centers, z, y)
    assert ((rank == 0) == (centers.predict(z) == y)).all()
    assert rank[0] == 3
    assert rank.max() <= 3


def test_of_equal_scores_the_first_label_wins() -> None:
    vectors = np.tile(unit_rows(1, 3), (3, 1))
    centers = Centers(("a", "b", "c"), vectors, 0.1, "test")
    assert label_rank(centers, np.tile(vectors[:1], (3, 1)), np.arange(3)).tolist() == [0, 1, 2]


@given(seed=st.integers(0, 50), drift=st.sampled_from([0.0, 0.1, 1.0]))
def test_places_of_neighbours_agree_with_counting_one_by_one(seed: int, drift: float) -> None:
    z = unit_rows(12, 4, seed)
    other = z + drift * unit_rows(12, 4, seed + 1)
    for i, place in enumerate(neighbour_places(z, other)):
        near = {j: float(z[i] @ z[j]) for j in range(12) if j != i}
        best = max(near, key=lambda j: near[j])
        before = [j for j in near if other[i] @ z[j] >= other[i] @ z[best] and near[j] < near[best] - TIE]
        assert place == len(before)


def test_an_engine_that_answers_alike_keeps_all_neighbours_and_dense_ones_are_as_good() -> None:
    z = unit_rows(40, 6)
    assert not neighbour_places(z, z).any()
    angles = np.linspace(0, 0.15, 40)
    dense = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert not neighbour_places(dense, dense[::-1]).any()  # the order is lost; nobody is clearly farther
    broken = z.copy()
    broken[3] = np.nan
    assert neighbour_places(z, broken).tolist() == [39 if i == 3 else 0 for i in range(40)]
