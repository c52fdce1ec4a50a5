"""Calibrate, export and verify from Python, then embed with the engine."""

import sys
from pathlib import Path

from advcal_edge import Embedder, ExportOptions, VerifyOptions, calibrate, configure, export, verify

TINY = {"train": {"samples": 64, "epochs": 1}, "evaluate": {"samples": 24, "steps": 3, "queries": 10}}


def main(path: Path) -> None:
    bundle = calibrate(configure(modality="imu", out=str(path), **TINY)).bundle
    export(path, ExportOptions(precisions=("fp32",)))
    (report,) = verify(path, VerifyOptions(engine="fp32", samples=24))
    print(f"{report.verdict}: {'; '.join(report.reasons)}")

    embedder = Embedder.load(path, require_verified=False)  # 24 samples cannot end in a pass
    x = bundle.probe().head(2).x  # physical units: m/s^2 and rad/s
    print("embeddings", embedder(x).shape, "labels", [matches[0].label for matches in embedder.classify(x, top=1)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
