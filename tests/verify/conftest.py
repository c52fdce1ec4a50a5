"""One real bundle with the four exported graphs, shared by every test that attacks engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from advcal_edge.bundle import Bundle
from advcal_edge.cli.victims import torch_victim
from advcal_edge.verify import Budget, Samples, Verification

TEST_BUDGET = Budget("test", pgd_steps=5, apgd_steps=4, apgd_restarts=1, losses=("ce", "margin"), square_queries=20)
SAMPLES = 200


@pytest.fixture(scope="session")
def prepared(exported: Bundle) -> Verification:
    """The torch reference, attacked once."""
    probe = exported.probe().head(SAMPLES)
    reference, _ = torch_victim(exported)
    samples = Samples(probe.x, probe.y, exported.threat, seed=0)
    return Verification.prepare(reference, exported.modality, samples, TEST_BUDGET)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where broken engines are put together."""
    return tmp_path_factory.mktemp("workshop")
