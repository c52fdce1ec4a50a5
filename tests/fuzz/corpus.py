"""The unharmed inputs that every case starts from: a bundle with everything in it, a half-done run, checkpoints."""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUNDLE, STATE, REPORT = "B", "B.verify", "B-report"
SAMPLES = 12
LABELS = ("car", "cat", "cup", "person")


def make_corpus(folder: Path) -> None:
    """Write all seeds; the same bytes each time but for the seconds that a report states."""
    from fuzz.layout_lists import write_lists
    from fuzz.sensor_files import write_sensor_files

    make_bundle(folder / BUNDLE)
    make_run(folder)
    make_checkpoints(folder)
    make_texts(folder)
    write_lists(folder / "layouts")
    write_sensor_files(folder / "sensors")


def make_bundle(path: Path) -> None:
    """A tiny bundle with the sections of a calibrated one, two graphs, a plan with its metadata, a report."""
    from host_trt import host_metadata, host_plan
    from tiny import Linear, write_bundle

    from advcal_edge.probe import Probe
    from advcal_edge.spec import image

    linear = Linear.random(image(8))
    bundle = write_bundle(path, linear, ("fp32",), {}, samples=SAMPLES, gradient=True)
    graph = linear.forward("fp32")
    plan = host_plan(graph)
    metadata = {**host_metadata(plan, graph, "fp32").to_json(), "layers": {"MatMul": "fp32"}}
    metadata["profiles"] = {"x": [[1, 3, 8, 8], [4, 3, 8, 8], [8, 3, 8, 8]]}
    probe = bundle.probe()
    files = {
        "adapter.safetensors": make_adapter(),
        "calibration.npz": Probe(probe.x[:4], probe.y[:4]).to_bytes(linear.modality.input),
        "engines/host-trt10.3.0-0.plan": plan,
        "engines/host-trt10.3.0-0.json": json.dumps(metadata).encode(),
    }
    bundle.add(files, **sections())
    run_quietly(["verify", str(path), "--engine", "fp32", "--reference", "onnx", "--sources", "none"], {0, 1})


def make_run(folder: Path) -> None:
    """The state of a run on that bundle, which only has to be merged."""
    options = ["--engine", "fp32", "--reference", "onnx", "--sources", "none", "--shard", "1/1"]
    run_quietly(["verify", str(folder / BUNDLE), *options, "--state", str(folder / STATE)], {0})


def make_adapter() -> bytes:
    """A low-rank adapter of bindlite, untrained."""
    from advcal_edge.calibrate.adapters import Adapter, attach_adapter
    from advcal_edge.calibrate.config import AdapterConfig
    from advcal_edge.encoders.base import open_encoder

    encoder, config = open_encoder("bindlite", "image", None), AdapterConfig()
    model = attach_adapter(encoder.module(), config, encoder.embedding_dim, seed=0)
    return Adapter.of(model, config, encoder.embedding_dim).to_bytes()


def sections() -> dict[str, Any]:
    """What a calibration says in its manifest, beside what `tiny` writes."""
    from dataclasses import asdict

    from hostile import SECTIONS

    from advcal_edge.calibrate.config import AdapterConfig, CalibrateConfig
    from advcal_edge.encoders.base import open_encoder

    encoder = open_encoder("bindlite", "image", None)
    return {
        **SECTIONS,
        "encoder": {**SECTIONS["encoder"], "modality": "image", "weights_sha256": encoder.fingerprint},
        "adapter": {**SECTIONS["adapter"], "config": asdict(AdapterConfig())},
        "config": asdict(CalibrateConfig("image")),
    }


def make_checkpoints(folder: Path) -> None:
    """What `torch.save` and safetensors write of a small trunk, plain and wrapped."""
    import torch
    from safetensors.torch import save

    state = {
        "trunk.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
        "trunk.bias": torch.zeros(3),
        "step": torch.tensor(7),
    }
    torch.save(state, folder / "plain.pth")
    torch.save({"model": state, "epoch": 3, "args": {"lr": 0.1, "name": "tiny"}}, folder / "wrapped.pth")
    (folder / "plain.safetensors").write_bytes(save(state, {"format": "pt"}))


def make_texts(folder: Path) -> None:
    """Settings, labels and lists."""
    build = 'product = "tensorrt"\nprecisions = "fp16, int8"\ngradient = true\nbatch = "1,8,32"\nmemory = 1024\n'
    (folder / "target.toml").write_text(build + 'hardware = "none"\nversion_compatible = false\n')
    (folder / "config.toml").write_text(
        'modality = "image"\nencoder = "bindlite"\nout = "O"\nseed = 3\n\n[input]\n\n[data]\nheld_out = 0.25\n'
        'skip_bad = false\n\n[adapter]\nkind = "lora"\nrank = 2\nalpha = 4.0\nstem = true\n\n[threat]\n'
        "norm = 'linf'\neps = 0.0157\n\n[craft]\nkind = 'adaptive'\n\n[train]\nsamples = 64\nepochs = 1\nbatch = 32\n"
        "learning_rate = 1e-2\n\n[evaluate]\nsteps = 3\n"
    )
    (folder / "labels.txt").write_text("person\ncar\na photo of a cat\nt-shirt/top\nnaïve café\n", "utf-8")
    rows = [f"{label}/{index}.png,{label},{label}/{index}.png" for label in ("car", "cat") for index in range(2)]
    (folder / "list.csv").write_text("path,label,pair\n" + "\n".join(rows) + "\n", "utf-8")


def run_quietly(arguments: list[str], codes: set[int]) -> None:
    """One command whose words nobody needs.

    Raises:
        RuntimeError: it ends with another exit code.
    """
    from advcal_edge.cli import main

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        code = main(arguments)
    if code not in codes:
        raise RuntimeError(f"{arguments}: exit code {code}\n{told.getvalue()}")


def relist(bundle: Path, files: Mapping[str, bytes]) -> None:
    """Replace files of a bundle and give the manifest their hashes, as whoever wants to be believed would."""
    from advcal_edge.storage import sha256_bytes

    place = bundle / "manifest.json"
    manifest = json.loads(place.read_text("utf-8"))
    for name, content in files.items():
        target = bundle / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        manifest["files"][name] = {"sha256": sha256_bytes(content), "bytes": len(content)}
    place.write_text(json.dumps(manifest), "utf-8")


def set_traps(folder: Path) -> None:
    """What paths in poisons lead to: a pipe that nobody writes, a link that leads out, a file outside the bundle."""
    os.mkfifo(folder / "trap")
    (folder / "link").symlink_to("/etc")
    (folder / "outside").write_bytes(struct.pack("<Q", 7))
