"""What people write by hand, and may get from others: TOML, settings, labels, lists of files."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from fuzz.case import Action, Scene, Target
from fuzz.corpus import LABELS
from fuzz.mutation import spoil, spoil_lines
from fuzz.poisons import CONTROLS, NAMES, NUMBERS, PATHS, TEXTS

TOML = ("[", "]", "[[a]]", "[a.b.c]", "= ", "a = ", "x = 1" * 50, '"', "'''", "inf", "-nan", "{}",
        "1979-05-27T07:32:00Z", "[" * 200, "a = " + "[" * 500, "a." * 500 + "b = 1", "0x" + "f" * 400, "9" * 5000,
        '"1e999999999"', "true", '"\\ud800"', "a = {b = {c = 1}}", "\ufeff", '"\\u0000"', '"\\u001b[2J"')  # fmt: skip
KEYS = ("modality", "encoder", "weights", "centers", "out", "seed", "input.rate", "data.path", "data.pairs",
        "data.held_out", "adapter.kind", "adapter.rank", "adapter.alpha", "objective.attacked", "threat.eps",
        "craft.step", "train.epochs", "train.batch", "train.samples", "evaluate.samples", "input", "data", "", ".",
        "a.b.c", "input.", "__class__", "input.__class__.x")  # fmt: skip
NUMERALS = ("4/0", "1/3", "1e400", "1e999999999", "-1e9", "١", "none", "true")
WORDS = (*TEXTS, *PATHS, *map(str, NUMBERS[:24]), *map(str, NUMBERS[26:]))


def spoil_text(text: str, scene: Scene, words: Sequence[str]) -> bytes:
    """Lines changed, or bytes."""
    if scene.rng.random() < 0.3:
        return spoil(text.encode(), scene.rng)
    return spoil_lines(text, scene.rng, words).encode("utf-8", "surrogatepass")


def write_toml(scene: Scene) -> Sequence[Action]:
    """A file of `calibrate --config` or of `export --for`."""
    text = scene.source.read_text("utf-8")
    words = (*TOML, *(f'"{word}"' for word in (*NAMES, *PATHS, *CONTROLS)), *(str(number) for number in NUMBERS[:20]))
    data = spoil_text(text, scene, words) if scene.spoilt else text.encode()
    (scene.folder / "input.toml").write_bytes(data)
    if scene.seed == "target.toml":
        return (Action("build_options", ("input.toml",), ("input.toml",)),)
    flags = ("--data", "nowhere", "--modality", "image", "--encoder", "bindlite", "--out", "O")
    return (
        Action("calibrate_options", ("input.toml",), ("input.toml",)),
        Action("cli", ("calibrate", "--config", "input.toml", *flags), ("input.toml",), refuses=True),
    )


def write_settings(scene: Scene) -> Sequence[Action]:
    """Items of `calibrate --set`."""
    items = ["train.epochs=3", "threat.eps=4/255"]
    if scene.spoilt:
        for _ in range(scene.rng.choice((1, 1, 2, 3))):
            key, word = (
                scene.rng.choice(KEYS),
                scene.rng.choice((*WORDS, *NUMERALS)),
            )
            items.append(scene.rng.choice((f"{key}={word}", f"{key} = {word}", f"{key}", f"{word}={key}")))
        items = [item.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")[:20_000] for item in items]
    flags = ("--data", "nowhere", "--modality", "image", "--encoder", "bindlite", "--out", "O")
    return (
        Action("settings", tuple(items)),
        Action("cli", ("calibrate", *(part for item in items for part in ("--set", item)), *flags), refuses=True),
    )


def write_labels(scene: Scene) -> Sequence[Action]:
    """A text file of labels or of templates."""
    text = scene.source.read_text("utf-8")
    data = spoil_text(text, scene, WORDS) if scene.spoilt else text.encode()
    (scene.folder / "labels.txt").write_bytes(data)
    command = ("centers", "--encoder", "imagebind", "--weights", "nowhere", "--labels", "labels.txt", "--out", "c")
    read = Action("labels", ("labels.txt",), ("labels.txt",))
    return (read,) if scene.index % 8 else (read, Action("cli", command, refuses=True))


def write_list(scene: Scene) -> Sequence[Action]:
    """A csv of frames and their labels, in a folder that holds them."""
    frame = scene.corpus / "sensors" / "rgb.png"
    for label in LABELS[:2]:
        (scene.folder / label).mkdir()
        for index in range(2):
            shutil.copy(frame, scene.folder / label / f"{index}.png")
    text = scene.source.read_text("utf-8")
    data = spoil_text(text, scene, WORDS) if scene.spoilt else text.encode()
    (scene.folder / "list.csv").write_bytes(data)
    pairs = scene.rng.choice(("", "image"))
    flags = ("--data", "list.csv", "--modality", "image", "--out", "O", "--set", "train.samples=1")
    return (
        Action("data", ("list.csv", "image", pairs), ("list.csv",)),
        Action("cli", ("calibrate", *flags), ("list.csv",), refuses=True),
    )


TARGETS = (
    Target("toml", ("config.toml", "target.toml"), write_toml, 60),
    Target("settings", ("config.toml",), write_settings, 30),
    Target("labels", ("labels.txt",), write_labels, 30),
    Target("list", ("list.csv",), write_list, 30),
)
