"""Comparison folders: which centers and samples they hold, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from classifier import NAMES, WEIGHTS, forward, logits, renamed
from hostile import resealed
from labelled_frames import draw, write_frames
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tiny import Linear, make_centers

from advcal_edge.bundle import Bundle
from advcal_edge.cli import main
from advcal_edge.errors import BundleError
from advcal_edge.pair import PairOptions, make_comparison
from advcal_edge.runtime.model import open_runner
from advcal_edge.spec import image


@pytest.fixture
def encoders(here: Path) -> Path:
    """A linear encoder, its gradient, centers, and frames of their classes."""
    linear, centers = Linear.random(image(4)), make_centers()
    (here / "original.onnx").write_bytes(linear.forward())
    (here / "gradient.onnx").write_bytes(linear.vjp())
    (here / "centers.safetensors").write_bytes(centers.to_bytes())

    def named(x: NDArray[np.float32]) -> list[str]:
        found = [centers.labels[k] for k in centers.predict(linear.embed(x).astype(np.float32))]
        return [name if found.count(name) > 8 else "car" for name in found]  # one or two make no mean

    write_frames(here / "frames", *draw(named, 80))
    return here


def options(**changes: object) -> PairOptions:
    """The original and the frames of the current folder."""
    return PairOptions("original.onnx", Path("frames"), **changes)  # type: ignore[arg-type]


def test_all_classes_of_the_centers_stay_although_the_samples_have_fewer(encoders: Path) -> None:
    made = make_comparison(options(centers=Path("centers.safetensors")), Path("F"))
    found, named = Bundle.open("F"), {folder.name for folder in Path("frames").iterdir()}
    labels, y = found.centers().labels, found.probe().y
    assert labels == make_centers().labels
    assert {labels[k] for k in y} == named < set(labels)
    assert np.array_equal(found.centers().vectors, make_centers().vectors)
    assert made.attacked == len(y) == 80
    assert found.manifest["data"]["train"] == 0


def test_without_centers_they_are_means_of_samples_that_are_not_attacked(encoders: Path) -> None:
    made = make_comparison(options(), Path("F"))
    found = Bundle.open("F")
    data, probe, centers = found.manifest["data"], found.probe(), found.centers()
    assert data["train"] + data["held_out"] == 80
    assert made.attacked == len(probe) == data["held_out"] > 60
    assert centers.source == f"class means of {data['train']} samples of `frames` that are not attacked"
    runner = open_runner("original.onnx", found.modality.input)
    attacked = {row.tobytes() for row in probe.x}
    for index, name in enumerate(centers.labels):
        frames = [np.load(path) for path in sorted((Path("frames") / name).iterdir())]
        x = (np.stack(frames) / np.float32(255)).transpose(0, 3, 1, 2).astype(np.float32).copy()
        kept = x[[row.tobytes() not in attacked for row in x]]
        mean = runner(kept).mean(axis=0)
        assert np.allclose(centers.vectors[index], mean / np.linalg.norm(mean), atol=1e-5)


def test_scores_of_logits_have_their_order_and_a_spread_of_one(classifiers: Path) -> None:
    made = make_comparison(options(kind="classifier"), Path("F"))
    x = Bundle.open("F").probe().x
    raw = logits(x)
    scores = made.centers.scores(raw / np.linalg.norm(raw, axis=1, keepdims=True))
    assert np.array_equal(scores.argsort(axis=1), raw.argsort(axis=1))
    assert np.median(scores.std(axis=1)) == pytest.approx(1, abs=1e-5)


def test_labels_name_more_logits_than_there_are_folders(classifiers: Path) -> None:
    wide = np.concatenate([WEIGHTS[:, :1], np.zeros((len(WEIGHTS), 2), np.float32), WEIGHTS[:, 1:]], axis=1)
    Path("original.onnx").write_bytes(forward(wide))
    labels = (NAMES[0], "nothing", "else", *NAMES[1:])
    made = make_comparison(options(kind="classifier", labels=labels), Path("F"))
    found = Bundle.open("F")
    assert found.centers().labels == labels
    assert set(found.probe().y) == {0, 3, 4, 5}
    assert made.right > 150


def test_a_folder_that_is_there_with_the_same_content_is_used_again(encoders: Path) -> None:
    first = make_comparison(options(), Path("F")).bundle.add({"reports/kept.txt": b"kept"})
    second = make_comparison(options(), Path("F")).bundle
    assert second.identity() == first.identity()
    assert second.has("reports/kept.txt")
    with pytest.raises(BundleError, match="compares other models, samples, centers or settings"):
        make_comparison(options(eps="1/255"), Path("F"))


def test_a_calibrated_bundle_is_not_replaced(encoders: Path) -> None:
    Bundle.create(Path("F"), {"modality": image(4).to_json()}, {"adapter.safetensors": b"0"})
    with pytest.raises(BundleError, match="is a bundle that was calibrated"):
        make_comparison(options(), Path("F"))


@pytest.mark.parametrize("name", ["split.onnx.data", "weights.bin"])
def test_weights_beside_the_graphs_are_kept_with_them(encoders: Path, name: str) -> None:
    import onnx

    for whole, split, weights in (("original", "split", name), ("gradient", "back", f"back-{name}")):
        onnx.save_model(
            onnx.load(f"{whole}.onnx"),
            f"{split}.onnx",
            save_as_external_data=True,
            location=weights,
            size_threshold=64,
        )
    made = make_comparison(PairOptions("split.onnx", Path("frames"), gradient=Path("back.onnx")), Path("F"))
    assert made.bundle.has(f"reference/{name}")
    assert made.bundle.has(f"onnx/back-{name}")
    for weights in (name, f"back-{name}"):
        Path(weights).unlink()
    assert main(["verify", "F", "--engine", "original.onnx", "--samples", "8"]) == 1  # too few to decide


PAIR = ("--engine", "original.onnx", "--reference", "original.onnx", "--data", "frames")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "`verify` needs a bundle, or two models and samples; missing for these: `--engine`, `--reference`"),
        (["--data", "frames", "--engine", "original.onnx"], "missing for these: `--reference`"),
        (["--reference", "original.onnx", "--engine", "original.onnx"], "missing for these: `--data`"),
        ([*PAIR, "--modality", "radar"], "unknown modality `radar`"),
        ([*PAIR, "--modality", "audio"], "expected (n, 1, mel, time) of the modality `audio`"),
        ([*PAIR, "--kind", "scores"], "unknown kind of model `scores`"),
        ([*PAIR, "--kind", "classifier", "--centers", "centers.safetensors"], "exclude each other"),
        ([*PAIR, "--labels", "labels.txt"], "`--labels` names the logits"),
        ([*PAIR, "--kind", "classifier"], "`original.onnx` gives 6 logits; `frames` has 2 classes"),
        ([*PAIR, "--kind", "classifier", "--labels", "labels.txt"], "`--labels` has 4 lines"),
        ([*PAIR, "--weights", "w.pt"], "is a graph, which holds its weights"),
        ([*PAIR, "--eps", "five"], "expected a fraction like `4/255`"),
        ([*PAIR, "--norm", "l1"], "unknown norm `l1`"),
        ([*PAIR, "--set", "train.epochs=3"], "unknown setting `train`"),
        ([*PAIR, "--set", "input.rate=3"], "has no setting `rate`"),
        ([*PAIR, "--set", "input.significant_bits=fast"], "expected a positive number"),
        ([*PAIR, "--centers", "narrow.safetensors"], "the centers are 5 wide; `original.onnx` gives 6 numbers"),
        ([*PAIR, "--centers", "foreign.safetensors"], "for which the encoder has no center"),
        ([*PAIR, "--gradient-graph", "original.onnx"], "expected `x` float32 (n, 3, 4, 4), `v` float32"),
        ([*PAIR, "--gradient-graph", "another.onnx"], "in relative L2"),
        (["--engine", "original.onnx", "--reference", "nobody", "--data", "frames"], "unknown encoder `nobody`"),
        (["--engine", "original.onnx", "--reference", "no.onnx", "--data", "frames"], "`no.onnx`"),
        (["--engine", "original.onnx", "--reference", "model.plan", "--data", "frames"], "is a plan"),
        (["--engine", "wide.onnx", *PAIR[2:]], "gives embeddings (1, 4)"),
        (["--engine", "original.onnx", "--reference", "original.onnx", "--data", "none"], "no folder and no csv file"),
        (["--engine", "original.onnx", "--reference", "original.onnx", "--data", "one"], "holds 1 class"),
        (["--engine", "original.onnx", "--reference", "original.onnx", "--data", "few"], "expected at least 8"),
        (["--engine", "original.onnx", "--reference", "original.onnx", "--data", "single"], "has 1 different frame"),
        (["--engine", "open.onnx", "--reference", "open.onnx", "--data", "frames"], "whose size is open"),
        (["B", "--data", "frames"], "`--data` is about two models without a bundle"),
        (["--check", "report.json", "--out", "F"], "`--out` is about two models without a bundle"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_2_in_words(
    encoders: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    centers = make_centers()
    narrow = centers.vectors[:, :5] / np.linalg.norm(centers.vectors[:, :5], axis=1, keepdims=True)
    for name, found in (
        ("narrow", type(centers)(centers.labels, narrow, 0.1, "test")),
        ("foreign", type(centers)(("a", "b"), centers.vectors[:2], 0.1, "test")),
    ):
        Path(f"{name}.safetensors").write_bytes(found.to_bytes())
    Path("labels.txt").write_text("\n".join(centers.labels))
    Path("another.onnx").write_bytes(Linear.random(image(4), seed=1).vjp())
    Path("wide.onnx").write_bytes(forward())
    Path("open.onnx").write_bytes(Linear.random(image(4)).forward(shape=("n", 3, "h", "w")))
    Path("model.plan").write_bytes(b"plan")
    frame = np.zeros((4, 4, 3), np.uint8)
    write_frames(Path("one"), np.stack([frame] * 9), ["cat"] * 9)
    write_frames(Path("few"), np.stack([frame + k for k in range(4)]).astype(np.uint8), ["cat", "car"] * 2)
    write_frames(Path("single"), np.stack([frame + 1] + [frame] * 9).astype(np.uint8), ["cat"] + ["car"] * 9)
    assert main(["verify", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_reference_that_knows_nothing_is_refused(classifiers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("original.onnx").write_bytes(forward(WEIGHTS[:, [1, 2, 3, 0]]))  # logits in another order than the folders
    assert main(["verify", *PAIR, "--kind", "classifier"]) == 2
    said = capsys.readouterr().err
    assert "of 200 clean samples correctly; chance would be 50 for 4 classes, so nothing could be lost" in said
    assert "hint: check the order of the labels (`--labels FILE`)" in said
    assert not Path("original.comparison").exists()


def test_a_tampered_comparison_is_refused(encoders: Path) -> None:
    make_comparison(options(), Path("F"))
    manifest = json.loads(Path("F/manifest.json").read_text())
    manifest["comparison"]["graph"] = "../original.onnx"
    Path("F/manifest.json").write_text(json.dumps(resealed(manifest)))
    assert main(["verify", "F", "--engine", "original.onnx"]) == 2


def test_graphs_of_other_programs_are_bridged(classifiers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other names, and channels last: what `open_runner` takes, a pair takes."""
    Path("reference.onnx").write_bytes(renamed())
    Path("candidate.onnx").write_bytes(renamed(last=True))
    pair = ["--engine", "candidate.onnx", "--reference", "reference.onnx", "--data", "frames", "--kind", "classifier"]
    assert main(["verify", *pair, "--samples", "64", "--json"]) == 1
    (report,) = json.loads(capsys.readouterr().out)["engines"]
    worst = report["derived"]["comparisons"][-1]
    assert (worst["only_reference"], worst["only_engine"]) == (0, 0)
    assert "nhwc input" in " ".join(report["measured"]["engine"]["bridged"])
    assert Bundle.open("reference.comparison").modality.input.shape == (3, 4, 4)


def ranking() -> bytes:
    """The classifier, which also sorts its logits and adds nothing of that to them."""
    model = onnx.load_from_string(forward())
    name = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["logits" if output == name else output for output in node.output]
    model.graph.node.extend(
        [
            helper.make_node("TopK", ["logits", "all"], ["sorted", "places"], name="order"),
            helper.make_node("Sub", ["sorted", "sorted"], ["nothing"]),
            helper.make_node("Add", ["logits", "nothing"], [name]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([4]), "all"))
    return bytes(model.SerializeToString())


def test_the_reference_graph_explains_what_a_pair_decides_by_value(
    classifiers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ranking.onnx").write_bytes(ranking())
    few = ["--data", "frames", "--kind", "classifier", "--samples", "64", "--json"]
    for reference, status in (("original.onnx", "fail"), ("ranking.onnx", "pass")):
        main(["verify", "--engine", "ranking.onnx", "--reference", reference, *few])
        (report,) = json.loads(capsys.readouterr().out)["engines"]
        (check,) = (item for item in report["derived"]["checks"] if item["name"] == "graph_explained")
        assert check["status"] == status
        assert ("TopK `order` ranks values" in check["why"]) is (status == "fail")
