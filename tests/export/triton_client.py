"""Run by the Python of the server's environment: start the real server, ask it, compare with direct calls; JSON out.

    python triton_client.py COMMAND MOVED REPOSITORY...

COMMAND is what `export --triton` printed for the first repository: of images, thermal frames and sound, in this order.
MOVED is one of thermal frames whose engine fails its self-test. Nothing here needs a network but loopback.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytriton
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from advcal_edge.runtime import Embedder
from advcal_edge.runtime.sensors import Recording

SERVER = Path(pytriton.__file__).parent / "tritonserver"
HTTP, GRPC = "127.0.0.1:8000", "127.0.0.1:8001"
START = 60  # seconds
OUTPUTS = ("embedding", "labels", "scores", "sure")
Answer = dict[str, Any]


def start(command: str, repositories: list[str], models: list[str], log: Path) -> subprocess.Popen[bytes]:
    """The server by the printed command; what is added names where this package keeps it, and what it can load."""
    stub = f"python_backend_stubs/3.{sys.version_info[1]}/triton_python_backend_stub"
    shutil.copy(SERVER / stub, SERVER / "backends/python")
    more = [word for path in repositories[1:] for word in ("--model-repository", path)]
    explicit = ["--model-control-mode", "explicit", *(word for name in models for word in ("--load-model", name))]
    words = [str(SERVER / "bin/tritonserver"), *shlex.split(command)[1:], *more, *explicit]
    with log.open("wb") as file:
        return subprocess.Popen(
            [*words, "--backend-directory", str(SERVER / "backends")], stdout=file, stderr=subprocess.STDOUT
        )


def wait(server: subprocess.Popen[bytes], client: Any, log: Path) -> None:
    """Until the server answers."""
    end = time.monotonic() + START
    while time.monotonic() < end and server.poll() is None:
        with suppress(Exception):  # nobody listens yet
            if client.is_server_ready():
                return
        time.sleep(0.2)
    raise SystemExit(f"the server did not start:\n{log.read_text()[-4000:]}")


def ask(library: Any, client: Any, model: str, given: dict[str, np.ndarray]) -> Answer:
    """One request, by HTTP or gRPC."""
    inputs = []
    for name, array in given.items():
        kind = {"uint8": "UINT8", "uint16": "UINT16", "int16": "INT16", "float32": "FP32", "float64": "FP64"}
        tensor = library.InferInput(name, list(array.shape), kind[array.dtype.name])
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    result = client.infer(model, inputs, outputs=[library.InferRequestedOutput(name) for name in OUTPUTS])
    return {name: result.as_numpy(name) for name in OUTPUTS}


def directly(embedder: Embedder, frames: list[Any]) -> Answer:
    """The same by the Embedder in this process."""
    z = embedder.embed_frames(frames)
    matches = embedder.match(z)
    return {
        "embedding": z,
        "labels": np.array([[match.label.encode() for match in row] for row in matches], np.object_),
        "scores": np.array([[match.score for match in row] for row in matches]),
        "sure": np.array([[bool(row[0].sure)] for row in matches]),
    }


def same_bits(one: Answer, other: Answer) -> bool:
    return all(
        one[name].shape == other[name].shape
        and (
            one[name].tolist() == other[name].tolist()
            if name == "labels"
            else one[name].dtype == other[name].dtype and one[name].tobytes() == other[name].tobytes()
        )
        for name in OUTPUTS
    )


def failure(call: Any) -> str:
    try:
        call()
    except Exception as error:
        return str(error)
    return "nothing failed"


def warm(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.indices(shape)
    return (29300 + 30 * rows + 11 * columns + rng.integers(0, 9, shape)).astype(np.uint16)


def frames_of(name: str, rng: np.random.Generator) -> list[tuple[dict[str, np.ndarray], list[Any]]]:
    """Requests and the frames in them."""
    if name == "image":
        colour = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        two = rng.integers(0, 256, (2, 90, 70, 3), dtype=np.uint8)
        grey = rng.integers(0, 256, (33, 21, 1), dtype=np.uint8)
        return [
            ({"frame_uint8": colour[None]}, [colour]),
            ({"frame_uint8": two}, list(two)),
            ({"frame_uint8": grey[None]}, [grey]),
        ]
    if name == "thermal":
        counts, degrees = warm((24, 32), rng), (20 + rng.random((24, 32)) * 15).astype(np.float32)
        return [({"frame_uint16": counts[None]}, [counts]), ({"frame_float32": degrees[None]}, [degrees])]
    sound = rng.integers(-9000, 9000, (1, 16000), dtype=np.int16)
    halves = (sound / np.float32(32768)).astype(np.float32)
    return [
        ({"frame_int16": sound[None], "rate": np.array([[16000.0]])}, [Recording(sound, 16000.0)]),
        (
            {"frame_float32": np.stack([halves, halves[:, ::-1]]), "rate": np.array([[16000.0], [8000.0]])},
            [Recording(halves, 16000.0), Recording(halves[:, ::-1], 8000.0)],
        ),
    ]


def main(command: str, moved: str, *repositories: str) -> None:
    models = [path.name for root in repositories for path in sorted(Path(root).glob("*_embedder"))]
    found: dict[str, Any] = {"configs": {}, "same": {}, "sure": {}, "refused": {}}
    for config in sorted(path for root in repositories for path in Path(root).glob("*/config.pbtxt")):
        parsed = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
        found["configs"][parsed.name] = {
            "backend": parsed.backend,
            "parameters": {name: value.string_value for name, value in parsed.parameters.items()},
            "warm": [item.batch_size for item in parsed.model_warmup],
            "largest": parsed.max_batch_size,
        }
    log = Path(repositories[0]).parent / "server.log"
    server = start(command, list(repositories), models, log)
    http, grpc = over_http.InferenceServerClient(HTTP, concurrency=8), over_grpc.InferenceServerClient(GRPC)
    try:
        wait(server, http, log)
        rng = np.random.default_rng(0)
        for root, model in zip(repositories, models, strict=True):
            embedder = Embedder.load(Path(root) / model / "1" / "bundle")
            name = model.removesuffix("_embedder")
            asked = frames_of(name, rng)
            found["same"][name] = [
                [same_bits(ask(library, client, model, given), directly(embedder, frames)) for given, frames in asked]
                for library, client in ((over_http, http), (over_grpc, grpc))
            ]
            if name == "thermal":
                many = np.stack([warm((8, 8), rng) for _ in range(16)] + [warm((8, 8), rng).T for _ in range(16)])
                many = np.ascontiguousarray(many * rng.uniform(0.98, 1.02, many.shape), np.uint16)
                answer = ask(over_grpc, grpc, model, {"frame_uint16": many})
                assert embedder.rule is not None
                found["rule"], found["sure"][name] = embedder.rule.threshold, answer["sure"].tolist()
                found["margins"] = embedder.centers.margins(answer["embedding"]).tolist()
            if name == "image":
                two = asked[1][0]
                found["sure"][name] = ask(over_http, http, model, two)["sure"].tolist()
                frames = list(rng.integers(0, 256, (24, 40, 40, 3), dtype=np.uint8))

                def together(frame: np.ndarray, model: str = model) -> Answer:
                    return ask(over_grpc, grpc, model, {"frame_uint8": frame[None]})

                with ThreadPoolExecutor(8) as pool:
                    answers = list(pool.map(together, frames))
                alone = [directly(embedder, [frame]) for frame in frames]
                found["together"] = [same_bits(*pair) for pair in zip(answers, alone, strict=True)]
        refuse = found["refused"]
        both = {"frame_uint8": np.zeros((1, 8, 8, 3), np.uint8), "frame_uint16": np.zeros((1, 8, 8, 3), np.uint16)}
        refuse["both"] = failure(lambda: ask(over_http, http, "image_embedder", both))
        strip = {"frame_uint8": np.zeros((1, 8, 8, 2), np.uint8)}
        refuse["channels"] = failure(lambda: ask(over_grpc, grpc, "image_embedder", strip))
        silent = {"frame_int16": np.zeros((1, 1, 16000), np.int16), "rate": np.array([[16000.0]])}
        refuse["silence"] = failure(lambda: ask(over_http, http, "audio_embedder", silent))
        del silent["rate"]
        refuse["rate"] = failure(lambda: ask(over_http, http, "audio_embedder", silent))
        refuse["engine"] = failure(lambda: http.load_model("image_engine"))
        config = Path(repositories[0]) / "image_engine/config.pbtxt"
        good = config.read_text()
        config.write_text(good.replace("TYPE_FP32", "TYPE_FLOATING", 1))
        refuse["config"] = failure(lambda: http.load_model("image_engine"))
        config.write_text(good)
        engine = next((Path(repositories[0]) / "image_embedder/1/bundle/onnx").glob("*.onnx"))
        http.unload_model("image_embedder")
        engine.write_bytes(engine.read_bytes()[:-1] + b"\x7f")
        refuse["tampered"] = failure(lambda: http.load_model("image_embedder"))
        found["directly"] = failure(lambda: Embedder.load(engine.parents[1]))
        http.unload_model("thermal_embedder")
        served = Path(repositories[1]) / "thermal_embedder"
        shutil.rmtree(served)
        shutil.copytree(Path(moved) / "thermal_embedder", served)
        refuse["selftest"] = failure(lambda: http.load_model("thermal_embedder"))
    finally:
        http.close()  # the server waits for its clients
        grpc.close()
        server.terminate()
        server.wait(60)
    found["selftest"] = re.findall(r"self-test (\w+), ", log.read_text())  # of models that are loaded in any order
    found["server"] = next((line for line in log.read_text().splitlines() if "server_version" in line), "")
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
