"""A run can be cut off, spread over machines and put together again, and comes to the same report."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from paired import BUDGET, INFO, THREAT, Toy
from runs import HASHES

from advcal_edge.errors import BundleError, ConfigError
from advcal_edge.verify import HeldOut, ModelSet, Shard, State, Verification
from advcal_edge.verify.block import Block
from advcal_edge.verify.crafting import attacks_per_block
from advcal_edge.verify.outcome import collect
from advcal_edge.verify.samples import BLOCK

RUN = {"what": "a test"}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy.make(tmp_path_factory.mktemp("toy"))


def prepare(toy: Toy, state: State) -> Verification:
    held_out = HeldOut.of(toy.probe, THREAT, seed=0)
    models = ModelSet(replace(toy.attacked(), info={"kind": "onnx"}), {"fp32": replace(toy.attacked(), info=INFO)})
    return Verification(models, toy.linear.modality, held_out, BUDGET, 0.05, state)


def report(verification: Verification) -> dict[str, Any]:
    document = collect(verification, "fp32", context={}, hashes=HASHES).to_json()
    del document["measured"]["seconds"]
    return document


@pytest.fixture(scope="module")
def whole(toy: Toy) -> dict[str, Any]:
    with State.temporary() as state:
        verification = prepare(toy, state)
        verification.run()
        return report(verification)


class CutError(Exception):
    """The machine goes down."""


@pytest.mark.parametrize("attacks", [0, 1, 20, 40])
def test_an_interrupted_run_goes_on_to_the_same_report(
    toy: Toy, whole: dict[str, Any], tmp_path: Path, attacks: int
) -> None:
    def cut(stage: str, done: int, total: int) -> None:
        if stage == "attack" and done > attacks:
            raise CutError

    first = prepare(toy, State.open(tmp_path, RUN))
    with pytest.raises(CutError):
        first.run(cut)
    seen: list[int] = []
    again = prepare(toy, State.open(tmp_path, RUN))
    each = attacks_per_block(again.models, again.samples, BUDGET, abstention=True)
    again.run(lambda stage, done, total: seen.append(done) if stage == "attack" else None)
    assert seen[0] == attacks // each * each + 1  # blocks that were done are not attacked again
    assert seen[-1] == each * again.samples.count
    assert report(again) == whole


def test_shards_in_any_order_make_the_same_report(toy: Toy, whole: dict[str, Any], tmp_path: Path) -> None:
    for number in (3, 1, 2):
        part = prepare(toy, State.open(tmp_path, RUN))
        if number == 2:
            assert part.missing() == ["1 of 4 blocks (1)"]
        part.run(shard=Shard(number, 3))
    merged = prepare(toy, State.find(tmp_path))
    assert merged.missing() == []
    assert report(merged) == whole


def test_no_report_before_all_is_done(toy: Toy, tmp_path: Path) -> None:
    part = prepare(toy, State.open(tmp_path, RUN))
    part.run(shard=Shard(2, 2))
    assert part.missing() == ["the checks of fp32", "2 of 4 blocks (0, 2)"]
    with pytest.raises(ConfigError, match="not complete"):
        report(part)


def test_a_damaged_block_is_one_clear_error(toy: Toy, tmp_path: Path) -> None:
    verification = prepare(toy, State.open(tmp_path, RUN))
    verification.run()
    (block,) = tmp_path.glob("*/block-000001.npz")
    block.write_bytes(block.read_bytes()[:-200])
    with pytest.raises(BundleError, match=r"block-000001\.npz` is damaged"):
        report(verification)


def test_blocks_with_other_arrays_are_one_clear_error(toy: Toy, tmp_path: Path) -> None:
    verification = prepare(toy, State.open(tmp_path, RUN))
    verification.run()
    (path,) = tmp_path.glob("*/block-000001.npz")
    whole = path.read_bytes()
    with np.load(io.BytesIO(whole), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    wrong: list[dict[str, Any]] = [
        {**arrays, "y": arrays["y"].astype(np.float64)},
        {**arrays, "y": arrays["y"][:-1]},
        {**arrays, "head": np.array("{}")},
        {**arrays, "head": np.array('{"attempts": null, "first": 0, "seconds": NaN}')},
        {**arrays, "drift/fp32": np.zeros((3, 2))},
        {name: array for name, array in arrays.items() if name != "y"},
        {name: array for name, array in arrays.items() if not name.startswith("winners/")},
    ]
    contents = [b"", b"PK", bytes(reversed(whole)), whole[:-200]]
    for changed in wrong:
        buffer = io.BytesIO()
        np.savez(buffer, **changed)
        contents.append(buffer.getvalue())
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(BundleError, match="is damaged") as caught:
            State.find(tmp_path).block(1)
        assert caught.value.hint


@pytest.mark.parametrize("content", [b"[]", b"{", b"null", b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_notes_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes) -> None:
    state = State.open(tmp_path, RUN)
    (state.folder / "drift.json").write_bytes(content)
    with pytest.raises(BundleError) as caught:
        state.note("drift")
    assert caught.value.hint


def test_blocks_of_another_run_are_not_mixed_in(toy: Toy, tmp_path: Path) -> None:
    verification = prepare(toy, State.open(tmp_path, RUN))
    verification.run()
    found = verification.state.block(2)
    assert found is not None
    attempts = [*found.attempts[1:], found.attempts[0]]
    verification.state.keep(2, replace(found, attempts=attempts))
    with pytest.raises(BundleError, match="not attacked and looked at as this run does, 34 times, in order"):
        report(verification)


def test_sound_blocks_that_this_run_cannot_have_made_are_refused(toy: Toy, tmp_path: Path) -> None:
    verification = prepare(toy, State.open(tmp_path, RUN))
    verification.run()
    found, other = verification.state.block(1), verification.state.block(0)
    assert found is not None
    assert other is not None
    attempt = found.attempts[0]
    judged = replace(attempt, rank={name: rank for name, rank in attempt.rank.items() if name != "fp32"})
    flat = {name: replace(w, clean=w.clean[..., :4], x_adv=w.x_adv[..., :4]) for name, w in found.winners.items()}
    assert any(len(w.rows) for w in flat.values())
    strangers: dict[str, Block] = {
        "holds 64 samples from 0 on, not 64 from 64 on": other,
        "knows nothing of fp32": replace(found, rank={"reference": found.rank["reference"]}),
        "labels or ranks beyond 6 classes": replace(found, y=found.y + 6),
        "fp32 did not judge": replace(found, attempts=[judged, *found.attempts[1:]]),
        "pictures of another shape": replace(found, winners=flat),
        "has other embeddings than clean@reference": replace(found, embeddings={}),
    }
    for words, block in strangers.items():
        verification.state.keep(1, block)
        with pytest.raises(BundleError, match=re.escape(words)) as caught:
            report(verification)
        assert caught.value.hint
        assert str(verification.state.folder) in caught.value.hint


def test_each_run_has_a_folder_of_its_own_and_leaves_none(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    one, other = State.open(root, RUN), State.open(root, {"what": "another"})
    assert one.folder != other.folder
    with pytest.raises(ConfigError, match="holds 2 runs"):
        State.find(root)
    assert State.find(other.folder) == other
    one.clear()
    assert State.find(root).run()["what"] == "another"
    other.clear()
    assert not root.exists()
    with pytest.raises(ConfigError, match="holds 0 runs"):
        State.find(root)


def test_whoever_ends_last_clears_a_run_that_two_work_on(toy: Toy, whole: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "runs"
    first, second = (prepare(toy, State.open(root, RUN)) for _ in range(2))
    first.run()
    assert report(first) == whole
    first.state.clear()
    assert second.missing() == []  # its blocks did not go away under its feet
    second.run()
    assert report(second) == whole
    second.state.clear()
    assert not root.exists()


def test_a_run_that_was_closed_stays_without_a_lock(tmp_path: Path) -> None:
    state = State.open(tmp_path, RUN)
    state.close()
    assert [path.name for path in tmp_path.iterdir()] == [state.folder.name]
    assert not list(state.folder.glob(".*"))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": "advcal-edge/verification/99"}', b"{"])
def test_a_run_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    state = State.open(tmp_path, RUN)
    (state.folder / "run.json").write_bytes(content)
    with pytest.raises(BundleError):
        State.open(tmp_path, RUN)


@given(st.integers(1, 12), st.integers(0, 60))
def test_shards_share_all_blocks_and_none_twice(count: int, blocks: int) -> None:
    parts = [Shard.parse(f"{k}/{count}").blocks(blocks) for k in range(1, count + 1)]
    assert sorted(index for part in parts for index in part) == list(range(blocks))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "a/b", "1/2/3", "-1/4", "1.5/4"])
def test_parts_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--shard"):
        Shard.parse(text)


PEAK = """
import resource, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
from dataclasses import replace
from tiny import Linear, make_centers
from advcal_edge.attacks import AttackedModel
from advcal_edge.anchor import AnchorFile
from advcal_edge.checked_file import CheckedFile
from advcal_edge.probe import ProbeFile
from advcal_edge.runtime.backends.onnx import OnnxBackend
from advcal_edge.runtime.model import EngineGradient, Runner, Vjp
from advcal_edge.spec import image
from advcal_edge.threat import ThreatModel
from advcal_edge.verify import Budget, HeldOut, ModelSet, State, Verification
from advcal_edge.verify.outcome import collect
folder, n = Path(sys.argv[1]), int(sys.argv[2])
modality = image(96)
runner = Runner(OnnxBackend(folder / "forward.onnx", threads=1), modality.input)
backward = Vjp(OnnxBackend(folder / "vjp.onnx", threads=1, optimization="basic"), modality.input)
model = AttackedModel(runner, make_centers(), EngineGradient(runner, backward))
samples = HeldOut.open(
    ProbeFile.open(CheckedFile.of(folder / "probe.npz"), modality.input),
    n,
    ThreatModel("linf", 4 / 255, (0.0, 1.0)),
    0,
    anchor=AnchorFile(CheckedFile.of(folder / "anchor.npz")),
)
assert len(samples) == n
steps = dict.fromkeys(("pgd_steps", "apgd_steps", "square_queries", "label_queries"), 2)
numbers = {{**steps, "pgd_restarts": 1, "apgd_restarts": 1, "targets": 0, "difference_steps": 1}}
budget = Budget("small", ("ce",), numbers)
with State.temporary() as state:
    models = ModelSet(model, {{"fp32": replace(model, info={{"sha256": "ab" * 32, "precision": "fp32"}})}})
    run = Verification(models, modality, samples, budget, 0.1, state)
    run.run()
    hashes = dict.fromkeys(("engine", "graph", "gradient", "bundle", "calibration", "data", "centers"))
    collect(run, "fp32", context={{}}, hashes=hashes).to_json()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    from tiny import CLASSES, DIM, Linear

    from advcal_edge.anchor import anchor_bytes
    from advcal_edge.probe import Probe
    from advcal_edge.spec import image

    linear, rng, n = Linear.random(image(96)), np.random.default_rng(0), 1600
    (tmp_path / "forward.onnx").write_bytes(linear.forward())
    (tmp_path / "vjp.onnx").write_bytes(linear.vjp())
    x = rng.integers(0, 256, (n, 3, 96, 96), np.uint8).astype(np.float32) / np.float32(255)
    (tmp_path / "probe.npz").write_bytes(Probe(x, rng.integers(0, CLASSES, n)).to_bytes(linear.modality.input))
    (tmp_path / "anchor.npz").write_bytes(anchor_bytes(np.ones((n, DIM), np.float32)))
    here = Path(__file__).parent
    code = PEAK.format(tests=str(here.parent), here=str(here))

    def peak(samples: int) -> float:
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(samples)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout) / 1024

    few, many = peak(4 * BLOCK), peak(n)
    grown = x.nbytes * (1 - 4 * BLOCK / n) / 2**20
    assert grown > 100  # MiB more of input
    assert many - few < 0.15 * grown, (few, many)
