"""Unharmed sensor files, one of each format that is read."""

from __future__ import annotations

import shutil
import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fuzz import ROOT

GOLDEN = ROOT / "tests" / "runtime" / "golden"
CAMERAS = ("event_lz4.aedat4", "event_zstd.aedat4") if find_spec("aedat") else ()
"""Read with the extra `events`."""

BY_MODALITY = {
    "image": ("rgb.png", "grey16.png", "rgba.png", "rgb.jpg", "rgb.bmp", "rgb.webp", "lossless.webp", "rgb.tiff",
              "rgb.npy", "rgb.gif", "rgb.ppm"),
    "video": ("video.avi", "video.mp4", "video.npy", "video.webm", "video.ts", "video.gif", "video.webp", "killed.avi"),
    "thermal": ("counts.png", "celsius.tiff", "celsius.npy", "celsius.pfm", "celsius.npz"),
    "depth": ("depth.png", "metres.npy", "metres.tiff"),
    "range": ("depth.png", "metres.npy"),
    "audio": ("audio_chirp.wav", "float.wav", "sound.flac", "sound.ogg", "sound.opus", "sound.mp3", "sound.aiff",
              "sound.au", "sound.caf", "sound.w64", "sound.rf64", "packed.wav", "killed.wav"),
    "imu": ("imu_shake.csv", "bare.csv", "motion.npy", "euroc.csv", "xsens.txt"),
    "event": ("event.npy", "group.h5", "table.h5", "table.npz", "columns.npz", "atis.bin",
              "events.txt", "evt2.raw", "evt3.raw", "cd.dat", *CAMERAS),
    "point": ("point.pcd", "point.ply", "ascii.ply", "ascii.pcd", "packed.pcd", "cloud.npy", "mesh.off", "mesh.obj",
              "commas.txt", "blanks.txt", "names.csv", "organised.npy", "kitti.bin", "sweep.pcd.bin", "survey.las"),
}  # fmt: skip


def write_sensor_files(folder: Path) -> None:
    """All of them, small."""
    folder.mkdir(parents=True)
    for path in GOLDEN.iterdir():
        if path.suffix != ".npz":
            shutil.copy(path, folder / path.name)
    rng = np.random.default_rng(0)
    _pictures(folder, rng)
    _sounds(folder, rng)
    _motions(folder, rng)
    _events(folder, rng)
    _points(folder, rng)
    _films(folder, rng)


def _pictures(folder: Path, rng: np.random.Generator) -> None:
    import cv2

    rgb = cv2.GaussianBlur(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), (0, 0), 2)
    for name in ("rgb.png", "rgb.jpg", "rgb.bmp", "rgb.tiff", "rgb.gif", "rgb.ppm"):
        cv2.imwrite(str(folder / name), rgb)
    cv2.imwrite(str(folder / "rgb.webp"), rgb, [cv2.IMWRITE_WEBP_QUALITY, 80])
    cv2.imwrite(str(folder / "lossless.webp"), rgb, [cv2.IMWRITE_WEBP_QUALITY, 101])
    cv2.imwrite(str(folder / "rgba.png"), np.dstack([rgb, rgb[..., :1]]))
    cv2.imwrite(str(folder / "grey16.png"), rng.integers(0, 65536, (24, 32), dtype=np.uint16))
    np.save(folder / "rgb.npy", rgb)
    kelvin = (29000 + np.linspace(0, 3000, 24 * 32)).reshape(24, 32)
    cv2.imwrite(str(folder / "counts.png"), kelvin.astype(np.uint16))
    cv2.imwrite(str(folder / "celsius.tiff"), (kelvin / 100 - 273.15).astype(np.float32))
    np.save(folder / "celsius.npy", (kelvin / 100 - 273.15).astype(np.float32))
    cv2.imwrite(str(folder / "celsius.pfm"), (kelvin / 100 - 273.15).astype(np.float32))
    np.savez_compressed(folder / "celsius.npz", frame=kelvin / 100 - 273.15)
    metres = np.linspace(0.5, 4, 24 * 32, dtype=np.float32).reshape(24, 32)
    np.save(folder / "metres.npy", metres)
    cv2.imwrite(str(folder / "metres.tiff"), metres)


def _sounds(folder: Path, rng: np.random.Generator) -> None:
    import soundfile

    sound = np.clip(rng.standard_normal((8000, 2)) * 0.2, -1, 1)
    soundfile.write(folder / "sound.flac", sound, 16000)
    soundfile.write(folder / "float.wav", sound, 22050, subtype="FLOAT")
    soundfile.write(folder / "sound.opus", sound, 16000, format="OGG", subtype="OPUS")
    for suffix in ("ogg", "mp3", "aiff", "au", "caf", "w64", "rf64"):
        soundfile.write(folder / f"sound.{suffix}", sound, 16000)
    soundfile.write(folder / "packed.wav", sound, 16000, subtype="MS_ADPCM")
    killed = bytearray((folder / "float.wav").read_bytes())
    at = killed.find(b"data") + 4
    killed[4:8] = killed[at : at + 4] = bytes(4)
    (folder / "killed.wav").write_bytes(killed)


def _motions(folder: Path, rng: np.random.Generator) -> None:
    motion = rng.standard_normal((100, 6)) * 0.3
    lines = "\n".join(",".join(f"{value:.4f}" for value in row) for row in motion)
    text = (folder / "imu_shake.csv").read_text()
    (folder / "imu_shake.csv").write_text("\n".join(text.split("\n")[:120]) + "\n")  # short, to be quick
    (folder / "bare.csv").write_text(lines + "\n")
    np.save(folder / "motion.npy", motion.T.astype(np.float32))
    (folder / "euroc.csv").write_text(
        "#timestamp [ns],w_RS_S_x [rad s^-1],w_RS_S_y [rad s^-1],w_RS_S_z [rad s^-1],"
        "a_RS_S_x [m s^-2],a_RS_S_y [m s^-2],a_RS_S_z [m s^-2]\n"
        + "\n".join(f"{10**18 + index * 10**7},{line}" for index, line in enumerate(lines.split("\n")))
    )
    (folder / "xsens.txt").write_text(
        "// Update Rate: 50.0Hz\nPacketCounter\tAcc_X\tAcc_Y\tAcc_Z\tGyr_X\tGyr_Y\tGyr_Z\n"
        + "\n".join(f"{index}\t" + line.replace(",", "\t") for index, line in enumerate(lines.split("\n")))
    )


def _events(folder: Path, rng: np.random.Generator) -> None:
    import h5py

    count = 300
    table = np.empty(count, [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "|i1")])
    table["t"] = np.sort(rng.integers(0, 10_000, count))
    table["x"], table["y"], table["p"] = (
        rng.integers(0, 20, count),
        rng.integers(0, 15, count),
        rng.integers(0, 2, count),
    )
    rows = list(zip(*(table[name].tolist() for name in "txyp"), strict=True))
    (folder / "events.txt").write_text("".join(f"{t} {x} {y} {p}\n" for t, x, y, p in rows))
    (folder / "evt2.raw").write_bytes(
        b"% evt 2.0\n% end\n"
        + b"".join(struct.pack("<II", 8 << 28 | t >> 6, p << 28 | (t & 63) << 22 | x << 11 | y) for t, x, y, p in rows)
    )
    (folder / "evt3.raw").write_bytes(
        b"% evt 3.0\n% end\n"
        + b"".join(
            struct.pack("<4H", 8 << 12 | t >> 12, 6 << 12 | t & 4095, y, 2 << 12 | p << 11 | x) for t, x, y, p in rows
        )
    )
    (folder / "cd.dat").write_bytes(
        b"% Data file containing CD events.\n% Version 2\n\x0c\x08"
        + b"".join(struct.pack("<II", t, p << 28 | y << 14 | x) for t, x, y, p in rows)
    )
    np.savez_compressed(folder / "table.npz", event_data=table)
    np.savez(folder / "columns.npz", x_pos=table["x"], y_pos=table["y"], timestamp=table["t"], polarity=table["p"])
    (folder / "atis.bin").write_bytes(b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for t, x, y, p in rows))
    with h5py.File(folder / "table.h5", "w") as file:
        file.create_dataset("events", data=table, compression="gzip")
    with h5py.File(folder / "group.h5", "w") as file:
        group = file.create_group("events")
        for name in "txyp":
            group.create_dataset(name, data=table[name], chunks=True, compression="lzf")


def _points(folder: Path, rng: np.random.Generator) -> None:
    cloud = rng.standard_normal((80, 3)).astype(np.float32)
    lines = "\n".join(" ".join(f"{value:.5f}" for value in row) for row in cloud)
    np.save(folder / "cloud.npy", cloud)
    (folder / "blanks.txt").write_text(f"{lines}\n")
    (folder / "commas.txt").write_text(f"{lines}\n".replace(" ", ","))
    (folder / "names.csv").write_text(
        "stamp;z;y;x\n" + "".join(f"0;{line}\n" for line in lines.replace(" ", ";").split("\n"))
    )
    np.save(folder / "organised.npy", cloud.reshape(8, 10, 3))
    shine, ring = rng.random(80), np.arange(80) % 16
    (folder / "kitti.bin").write_bytes(np.column_stack([cloud, shine]).astype("<f4").tobytes())
    (folder / "sweep.pcd.bin").write_bytes(np.column_stack([cloud, shine, ring]).astype("<f4").tobytes())
    (folder / "survey.las").write_bytes(_survey(cloud))
    faces = [" ".join(map(str, rng.permutation(80)[: 3 + index % 2])) for index in range(40)]
    (folder / "mesh.off").write_text(
        f"OFF80 40 0\n{lines}\n" + "".join(f"{len(face.split())} {face}\n" for face in faces)
    )
    (folder / "mesh.obj").write_text(
        "# small\nmtllib none.mtl\n"
        + "".join(f"v {line}\n" for line in lines.split("\n"))
        + "".join("f " + " ".join(f"{int(word) + 1}/1/1" for word in face.split()) + "\n" for face in faces)
    )
    (folder / "ascii.ply").write_text(
        "ply\nformat ascii 1.0\ncomment small\nelement vertex 80\nproperty float x\nproperty float y\n"
        f"property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n{lines}\n3 0 1 2\n"
    )
    head = "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 80\nHEIGHT 1\n"
    head += "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 80\n"
    (folder / "ascii.pcd").write_text(f"{head}DATA ascii\n{lines}\n")
    flat = cloud.T.tobytes()
    packed = b"".join(bytes([len(flat[k : k + 32]) - 1]) + flat[k : k + 32] for k in range(0, len(flat), 32))
    sizes = len(packed).to_bytes(4, "little") + len(flat).to_bytes(4, "little")
    (folder / "packed.pcd").write_bytes(f"{head}DATA binary_compressed\n".encode() + sizes + packed)


def _survey(cloud: NDArray[np.float32]) -> bytes:
    """LAS 1.2, points of format 0, by the letter of its specification."""
    counts = np.rint(cloud * 1000).astype("<i4")
    box = np.column_stack([counts.max(axis=0), counts.min(axis=0)]) * 0.001
    head = struct.pack("<4s20x2B68xHIIBHI20x", b"LASF", 1, 2, 227, 227, 0, 0, 20, len(cloud))
    head += np.concatenate([np.full(3, 0.001), np.zeros(3), box.ravel()]).astype("<f8").tobytes()
    return head + b"".join(row.tobytes() + bytes(8) for row in counts)


def _films(folder: Path, rng: np.random.Generator) -> None:
    import cv2

    frames = rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    for name, codec in (("video.mp4", "mp4v"), ("video.webm", "VP80"), ("video.ts", "mp4v"), ("killed.avi", "MJPG")):
        film = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*codec), 25.0, (32, 32))
        for frame in frames:
            film.write(frame)
        film.release()
    killed = bytearray((folder / "killed.avi").read_bytes())
    killed[4:8] = killed[48:52] = bytes(4)
    (folder / "killed.avi").write_bytes(killed)
    animation = cv2.Animation()
    animation.frames, animation.durations = list(frames), [40] * len(frames)
    for suffix in ("gif", "webp"):
        cv2.imwriteanimation(str(folder / f"video.{suffix}"), animation)
    np.save(folder / "video.npy", frames)
