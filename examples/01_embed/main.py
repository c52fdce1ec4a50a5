"""A robot's loop: frames in, labels out, and nothing runs that was not verified unless you say so."""

import sys
from pathlib import Path

from advcal_edge.runtime import Embedder
from advcal_edge.runtime.sensors import read_frame

SURE = 0.5


def main(bundle: str, frames: list[str], require_verified: bool = True) -> None:
    embedder = Embedder.load(bundle, require_verified=require_verified)
    print(f"{embedder.fingerprint}, verified: {embedder.verified}")
    for path in frames:  # on the robot: each frame as the camera's driver gives it, a numpy array
        z = embedder.embed_frames([read_frame(path, embedder.modality)])
        best = embedder.match(z, top=1)[0][0]
        print(f"{Path(path).name}: {best.label if best.score >= SURE else 'unsure'} ({best.score:.2f})")


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if a != "--unverified"]
    main(arguments[0], arguments[1:], require_verified="--unverified" not in sys.argv)
