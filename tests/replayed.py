"""A bundle with a stored self-test of its engine, that passes or not."""

from __future__ import annotations

import numpy as np

from advcal_edge.bundle import Bundle
from advcal_edge.expectations import ADVERSARIAL, CLEAN, TIE, Expectations, selftest_name
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.selftest import place_of


def stored_for(bundle: Bundle, turned: float = 0.0, place: dict[str, str] | None = None) -> Bundle:
    """The bundle with expectations of its engine, whose embeddings are moved by `turned`."""
    embedder = Embedder.load(bundle.path)
    probe = bundle.probe()
    z = embedder(probe.x)
    z = z + np.float32(turned) * np.roll(z, 1, axis=1)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    kind = np.resize(np.array([CLEAN, TIE, ADVERSARIAL], np.int64), len(z))
    y = probe.y.astype(np.int64)
    where = place or place_of(embedder.fingerprint)
    expected = Expectations(probe.x, y, kind, z.astype(np.float32), z.astype(np.float32), embedder.runner.sha256, where)
    return bundle.add({selftest_name(embedder.runner.sha256): expected.to_bytes()})
