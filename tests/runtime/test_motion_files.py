"""Motion as recorders write it: order and units from the header or declared; what contradicts itself is refused."""

from __future__ import annotations

import csv
import math
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mutations import mutated, outcome
from numpy.typing import NDArray
from refusal import refused

from advcal_edge.errors import ConfigError, InputError
from advcal_edge.runtime.sensors import Recording, preprocess, read_frame
from advcal_edge.runtime.sensors.files.motion_header import read_title
from advcal_edge.spec import imu

SMALL = imu(64, 50.0)
G = 9.80665
DEG = math.radians(1)
COUNT = 120
RATE = 100.0


def hand(count: int = COUNT, rate: float = RATE, seed: int = 0) -> NDArray[np.float64]:
    """A sensor that a hand turns: gravity as its attitude shows it, the rate of that attitude, and noise (6, t)."""
    rng = np.random.default_rng(seed)
    phases, t = rng.uniform(0, 6, 3), np.arange(count) / rate
    roll, pitch = 0.7 * np.sin(2 * np.pi * 0.4 * t + phases[0]), 0.5 * np.sin(2 * np.pi * 0.3 * t + phases[1])
    roll_rate, pitch_rate = np.gradient(roll, 1 / rate), np.gradient(pitch, 1 / rate)
    accel = G * np.stack([-np.sin(pitch), np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch)])
    gyro = np.stack([roll_rate, pitch_rate * np.cos(roll), -pitch_rate * np.sin(roll)])
    return np.concatenate([accel, gyro]) + rng.normal(0, 0.02, (6, count))


def write(path: Path, header: list[str] | str, columns: list[Any], delimiter: str = ",", before: str = "") -> Path:
    """A table by Python's own writer; a header given as text is written as it is."""
    with path.open("w", newline="") as file:
        file.write(before)
        table = csv.writer(file, delimiter=delimiter)
        if isinstance(header, str):
            file.write(header + "\n")
        else:
            table.writerow(header)
        table.writerows(zip(*columns, strict=True))
    return path


def assert_motion(path: Path, expected: NDArray[np.float64], rate: float = RATE, **declared: Any) -> None:
    modality = SMALL.with_settings(declared)
    frame = read_frame(path, modality)
    assert isinstance(frame, Recording)
    assert frame.rate == pytest.approx(rate, rel=1e-4)
    np.testing.assert_allclose(frame.values, expected, atol=2e-3)
    # a frame that was read knows its units: what is declared is not applied again
    np.testing.assert_array_equal(
        preprocess(modality, [frame]), preprocess(SMALL, [Recording(frame.values, frame.rate)])
    )


MOTION = hand()
T = np.arange(COUNT) / RATE
NS = (1_403_636_579_000_000_000 + np.arange(COUNT) * 10_000_000).tolist()
AX, AY, AZ, GX, GY, GZ = MOTION
FLAT = np.zeros(COUNT)
EUROC = (
    "#timestamp [ns],w_RS_S_x [rad s^-1],w_RS_S_y [rad s^-1],w_RS_S_z [rad s^-1],"
    "a_RS_S_x [m s^-2],a_RS_S_y [m s^-2],a_RS_S_z [m s^-2]"
)


def test_euroc_and_tum_vi(tmp_path: Path) -> None:
    assert_motion(write(tmp_path / "data.csv", EUROC, [NS, GX, GY, GZ, AX, AY, AZ]), MOTION)


def test_rostopic(tmp_path: Path) -> None:
    """`rostopic echo -p`: two clocks, words, a quaternion and covariances; the stamp of the header is the sample's."""
    vector = [f"field.{name}.{axis}" for name in ("angular_velocity", "linear_acceleration") for axis in "xyz"]
    names = ["%time", "field.header.seq", "field.header.stamp", "field.header.frame_id", "field.orientation.x",
             *vector[:3], "field.angular_velocity_covariance0", *vector[3:]]  # fmt: skip
    jitter = [ns + 3_000_000 * (index % 2) for index, ns in enumerate(NS)]
    columns = [jitter, range(COUNT), NS, ["imu_link"] * COUNT, FLAT, GX, GY, GZ, FLAT, AX, AY, AZ]
    assert_motion(write(tmp_path / "imu.csv", names, columns), MOTION)


def test_bagpy(tmp_path: Path) -> None:
    """Stamps in two columns, and covariances in quotes with commas inside."""
    vector = [f"{name}.{axis}" for name in ("angular_velocity", "linear_acceleration") for axis in "xyz"]
    names = ["Time", "header.stamp.secs", "header.stamp.nsecs", "header.frame_id", "orientation_covariance", *vector]
    stamps = [[ns // 10**9 for ns in NS], [ns % 10**9 for ns in NS]]
    columns = [T + 0.01 * (T > 0.5), *stamps, ["imu"] * COUNT, ["(0.0, 0.1, 0)"] * COUNT, GX, GY, GZ, AX, AY, AZ]
    assert_motion(write(tmp_path / "imu.csv", names, columns), MOTION)


def test_phyphox(tmp_path: Path) -> None:
    names = ["Time (s)"]
    names += [f"Acceleration {axis} (m/s^2)" for axis in "xyz"] + [f"Gyroscope {axis} (rad/s)" for axis in "xyz"]
    assert_motion(write(tmp_path / "a.csv", names, [T, *MOTION]), MOTION)


def test_phyphox_with_decimal_commas(tmp_path: Path) -> None:
    names = ["Time (s)"]
    names += [f"Acceleration {axis} (m/s^2)" for axis in "xyz"] + [f"Gyroscope {axis} (rad/s)" for axis in "xyz"]
    columns = [[f"{value:.6f}".replace(".", ",") for value in column] for column in (T, *MOTION)]
    assert_motion(write(tmp_path / "a.csv", names, columns, delimiter=";"), MOTION)


def test_androsensor(tmp_path: Path) -> None:
    """Semicolons, squares as a sign, gravity and linear acceleration beside the whole, the unit of time in words."""
    names = [f"ACCELEROMETER {axis} (m/s²)" for axis in "XYZ"] + [f"GRAVITY {axis} (m/s²)" for axis in "XYZ"]
    names += [f"LINEAR ACCELERATION {axis} (m/s²)" for axis in "XYZ"] + [f"GYROSCOPE {axis} (rad/s)" for axis in "XYZ"]
    names += [f"MAGNETIC FIELD {axis} (μT)" for axis in "XYZ"]
    names += ["Time since start in ms", "YYYY-MO-DD HH-MI-SS_SSS"]
    columns = [AX, AY, AZ, *[FLAT] * 6, GX, GY, GZ, *[FLAT] * 3, T * 1000, ["2024-01-01 00:00:00:000"] * COUNT]
    assert_motion(write(tmp_path / "a.csv", names, columns, delimiter=";"), MOTION)


def test_physics_toolbox(tmp_path: Path) -> None:
    """g-force beside linear acceleration: two things that could be meant, so that only a declaration decides."""
    names = ["time", "gFx", "gFy", "gFz", "ax", "ay", "az", "wx", "wy", "wz"]
    path = write(tmp_path / "a.csv", names, [T, AX / G, AY / G, AZ / G, FLAT, FLAT, FLAT, GX, GY, GZ])
    with refused("2 columns for ax: `gFx`, `ax`"):
        read_frame(path, SMALL)
    assert_motion(path, MOTION, columns="t,ax,ay,az,-,-,-,gx,gy,gz")


def test_sensor_logger_writes_a_file_per_sensor(tmp_path: Path) -> None:
    path = write(tmp_path / "Accelerometer.csv", ["time", "seconds_elapsed", "z", "y", "x"], [NS, T, AZ, AY, AX])
    with refused("columns time, seconds_elapsed, z, y, x") as refusal:
        read_frame(path, SMALL)
    assert "a file of one sensor" in str(refusal.value.hint)
    names = [
        "time",
        "seconds_elapsed",
        *(f"accelerometer_{axis}" for axis in "zyx"),
        *(f"gyroscope_{axis}" for axis in "zyx"),
    ]
    path = write(tmp_path / "joined.csv", names, [NS, T, AZ, AY, AX, GZ, GY, GX])
    assert_motion(path, MOTION)


def test_one_sensor_alone_is_refused_with_the_way_to_join(tmp_path: Path) -> None:
    names = ["Time (s)", *(f"Acceleration {axis} (m/s^2)" for axis in "xyz")]
    with refused("none for gx, gy, gz") as refusal:
        read_frame(write(tmp_path / "a.csv", names, [T, AX, AY, AZ]), SMALL)
    assert "gyroscope is in another file" in str(refusal.value.hint)


def test_witmotion(tmp_path: Path) -> None:
    names = ["Time(s)", *(f"Acc{axis}(g)" for axis in "XYZ"), *(f"As{axis}(°/s)" for axis in "XYZ"), "Angle X(°)"]
    columns = [T, AX / G, AY / G, AZ / G, GX / DEG, GY / DEG, GZ / DEG, FLAT]
    path = write(tmp_path / "a.txt", names, columns, delimiter="\t")
    assert_motion(path, MOTION)
    path.write_bytes(path.read_text().encode("latin-1"))
    assert_motion(path, MOTION)


@pytest.mark.parametrize("delimiter", ["\t", ";", ","])
def test_xsens(delimiter: str, tmp_path: Path) -> None:
    """MT Manager: the rate in a comment, a counter of packets, and a clock in ticks of 0.1 ms, which is not used."""
    before = (
        "// Start Time: Unknown\n// Update Rate: 100.0Hz\n// Filter Profile: general (41.1)\n// Option Flags: AHS\n"
    )
    vectors = [f"{name}_{axis}" for name in ("Acc", "FreeAcc", "Gyr", "Mag") for axis in "XYZ"]
    names = ["PacketCounter", "SampleTimeFine", *vectors, "Roll", "Pitch", "Yaw"]
    counter = (np.arange(COUNT) + 65_500) % 65_536
    columns = [counter, np.arange(COUNT) * 100, AX, AY, AZ, *[FLAT] * 3, GX, GY, GZ, *[FLAT] * 6]
    path = write(tmp_path / "MT.txt", names, columns, delimiter, before)
    assert_motion(path, MOTION)
    with refused("says 100 Hz before its rows; declared is `input.file_rate` 60"):
        read_frame(path, SMALL.with_settings({"file_rate": 60}))
    with refused("without timestamps"):
        read_frame(write(path, names, columns, delimiter), SMALL)
    counter[50:] += 3
    with refused("lost packets: after row 50 the counter goes from"):
        read_frame(write(path, names, [counter, *columns[1:]], delimiter, before), SMALL)


@pytest.mark.parametrize("logger", [True, False])
def test_gnss_logger(logger: bool, tmp_path: Path) -> None:
    """A row per sample of one sensor, each with its clock; the gyroscope is later, faster and longer."""
    lines = ["# Version: v3.0.5.6 Platform: 13", "# Raw,utcTimeMillis,TimeNanos,LeapSecond"]
    lines += [f"# {kind},utcTimeMillis,elapsedRealtimeNanos," + ",".join(f"{kind}{axis}{unit}" for axis in "XYZ")
              for kind, unit in (("UncalAccel", "Mps2"), ("UncalGyro", "RadPerSec"))]  # fmt: skip
    if not logger:
        lines = [
            "MessageType,utcTimeMillis,elapsedRealtimeNanos,MeasurementX,MeasurementY,MeasurementZ,BiasX,BiasY,BiasZ"
        ]
    fine = np.arange(-5, COUNT * 2 + 5) / (2 * RATE) + 0.0011
    turns = np.stack([np.interp(fine, T, axis) for axis in MOTION[3:]])
    rows = [(t, "UncalAccel", axes) for t, axes in zip(T, MOTION[:3].T, strict=True)]
    rows += [(t, "UncalGyro", axes) for t, axes in zip(fine, turns.T, strict=True)]
    for t, kind, axes in sorted(rows, key=lambda row: row[0]):
        x, y, z = axes
        lines.append(f"{kind},{1_590_000_000_000 + int(t * 1000)},{10**12 + round(t * 1e9)},{x},{y},{z},0,0,0")
    path = tmp_path / "gnss_log.txt"
    path.write_text("\n".join(lines[:5] + ["Raw,1590000000000,5,,"] * logger + lines[5:]))
    frame = read_frame(path, SMALL)
    assert isinstance(frame, Recording)
    assert frame.rate == pytest.approx(RATE)
    np.testing.assert_allclose(frame.values[:3], MOTION[:3], atol=1e-6)
    np.testing.assert_allclose(frame.values[3:], MOTION[3:], atol=0.06)  # noise of 0.02, interpolated
    path.write_text("\n".join(line for line in lines if not line.startswith("UncalGyro")))
    with refused("0 rows of the gyroscope"):
        read_frame(path, SMALL)


def test_kitti_oxts(tmp_path: Path) -> None:
    """Thirty numbers between blanks: without a header the order is declared, as the hint says."""
    columns = [FLAT] * 11 + [AX, AY, AZ] + [FLAT] * 3 + [GX, GY, GZ] + [FLAT] * 10
    path = tmp_path / "oxts.txt"
    np.savetxt(path, np.stack(columns, axis=1))
    with refused("30 columns and no header") as refusal:
        read_frame(path, SMALL)
    order = str(refusal.value.hint).split("`")[1].removeprefix("--set input.columns=")
    assert_motion(path, MOTION, columns=order, file_rate=RATE)
    names = "lat lon alt roll pitch yaw vn ve vf vl vu ax ay az af al au wx wy wz wf wl wu pos_accuracy vel_accuracy"
    np.savetxt(path, np.stack(columns, axis=1), header=f"{names} navstat numsats posmode velmode orimode", comments="")
    assert_motion(path, MOTION, file_rate=RATE)


@pytest.mark.parametrize("date", ["%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f+02:00"])
def test_dates(date: str, tmp_path: Path) -> None:
    start = datetime(2026, 3, 1, 23, 59, 59)
    dates = [(start + timedelta(seconds=float(t))).strftime(date) for t in T]
    path = write(tmp_path / "a.csv", ["timestamp", "ax", "ay", "az", "gx", "gy", "gz"], [dates, *MOTION])
    assert_motion(path, MOTION)
    path.write_text(path.read_text().replace("23:59:59.05", "23:59:61.05"))
    with refused("no table of numbers"):
        read_frame(path, SMALL)


def test_empty_cells_and_a_delimiter_at_the_end(tmp_path: Path) -> None:
    """MT Manager leaves cells empty that a sensor does not fill."""
    names = ["PacketCounter", "SampleTimeFine", "Year", "Month", *(f"Acc_{axis}" for axis in "XYZ")]
    names += [*(f"Gyr_{axis}" for axis in "XYZ"), "Roll", ""]
    empty = [""] * COUNT
    path = write(tmp_path / "a.txt", names, [range(COUNT), empty, empty, empty, *MOTION, FLAT], ";")
    assert_motion(path, MOTION, file_rate=RATE)


def test_a_row_of_units_below_the_header(tmp_path: Path) -> None:
    names = ["t", "ax", "ay", "az", "gx", "gy", "gz"]
    before = "ms,g,g,g,deg/s,deg/s,deg/s\n"
    path = write(tmp_path / "a.csv", names, [T * 1000, *MOTION[:3] / G, *MOTION[3:] / DEG])
    lines = path.read_text().split("\n", 1)
    path.write_text(f"{lines[0]}\n{before}{lines[1]}")
    assert_motion(path, MOTION)


@pytest.mark.parametrize(
    ("title", "name", "unit"),
    [
        ("t", "t", ""),
        ("Time (s)", "t", "s"),
        ("timestamp_ns", "t", "ns"),
        ("#timestamp [ns]", "t", "ns"),
        ("%time", "t", "ns"),
        ("utcTimeMillis", "t", "ms"),
        ("tick_ms", "t", "ms"),
        ("elapsedRealtimeNanos", "t", "ns"),
        ("seconds_elapsed", "t", "s"),
        ("Time since start in ms ", "t", "ms"),
        ("header.stamp.sec", "sec", ""),
        ("field.header.stamp", "t", "ns"),
        ("loggingTime(txt)", "", ""),
        ("date", "", ""),
        ("SampleTimeFine", "", ""),
        ("UncalAccelXMps2", "ax", "m/s2"),
        ("UncalGyroZRadPerSec", "gz", "rad/s"),
        ("accelerometerAccelerationX(G)", "ax", "g"),
        ("gyroRotationY(rad/s)", "gy", "rad/s"),
        ("accel_x [mg]", "ax", "mg"),
        ("acc_z_g", "az", "g"),
        ("gyro_x_dps", "gx", "deg/s"),
        ("angular_velocity.y", "gy", ""),
        ("angular_velocity_covariance_0", "", ""),
        ("omega_z", "gz", ""),
        ("wx", "gx", ""),
        ("w_RS_S_x [rad s^-1]", "gx", "rad/s"),
        ("a_RS_S_z [m s^-2]", "az", "m/s2"),
        ("imu_accel_x (m s⁻²)", "ax", "m/s2"),
        ("imu0_ax", "ax", ""),
        ("X Acceleration [g]", "ax", "g"),
        ("z_gyro (deg/s)", "gz", "deg/s"),
        ("std_ax", "", ""),
        ("orientation.x", "", ""),
        ("qx", "", ""),
        ("vx", "", ""),
        ("GyroBiasX", "", ""),
        ("mag_x", "", ""),
        ("index", "", ""),
        ("Roll", "", ""),
        ("Acc_X (in m/s2)", "ax", "m/s2"),
        ("Gyr_Z (in rad/s)", "gz", "rad/s"),
        ("UTC_Second", "", ""),
        ("tv_sec", "", ""),
    ],
)
def test_titles(title: str, name: str, unit: str) -> None:
    found = read_title(title)
    assert (found.name, found.unit) == (name, unit)


def test_units_that_are_not_known_are_refused(tmp_path: Path) -> None:
    names = ["t", "ax (ft/s2)", "ay (ft/s2)", "az (ft/s2)", "gx", "gy", "gz"]
    path = write(tmp_path / "a.csv", names, [T, *MOTION])
    with refused("`ft/s2`, which is none of m/s2, g, mg"):
        read_frame(path, SMALL)
    names = ["t", "ax (g)", "ay (g)", "az (m/s2)", "gx", "gy", "gz"]
    with refused("different units: `ax"):
        read_frame(write(path, names, [T, *MOTION]), SMALL)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"accel_unit": "g"}, "says m/s2 in its header"),
        ({"gyro_unit": "deg/s"}, "says rad/s in its header"),
        ({"time_unit": "us"}, "says ns in its header"),
        ({"columns": "t,ax,ay,az,gx,gy,gz"}, "declared as ax; its title says gx"),
        ({"columns": "ax,ay,az,gx,gy,gz"}, "has 7 columns; declared are 6"),
    ],
)
def test_a_header_that_contradicts_a_declaration_is_refused(
    declared: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "data.csv", EUROC, [NS, GX, GY, GZ, AX, AY, AZ])
    with refused(message):
        read_frame(path, SMALL.with_settings(declared))
    agreed = {"accel_unit": "m/s2", "time_unit": "ns", "columns": "t,gx,gy,gz,ax,ay,az"}
    assert_motion(path, MOTION, **agreed)


@pytest.mark.parametrize("columns", ["t,ax,ay,az,gx,gy", "ax,ay,az,gx,gy,gz,gz", "x,y,t,p"])
def test_columns_that_are_no_motion_are_a_mistake_in_the_settings(columns: str) -> None:
    with pytest.raises(ConfigError, match=r"input\.columns"):
        preprocess(SMALL.with_settings({"columns": columns}), [Recording(MOTION, RATE)])


@pytest.mark.parametrize(
    ("step", "unit", "hertz"), [(10.0, "ms", "100"), (1.0, "ms", "1000"), (5000.0, "us", "200"), (5e6, "ns", "200")]
)
def test_stamps_that_are_not_seconds_are_refused(step: float, unit: str, hertz: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["t", "ax", "ay", "az", "gx", "gy", "gz"], [np.arange(COUNT) * step, *MOTION])
    with refused(re.escape(f"timestamps {step:g} apart, which in s is a rate of")) as refusal:
        read_frame(path, SMALL)
    assert f"`--set input.time_unit={unit}` makes it {hertz} Hz" in str(refusal.value.hint)
    frame = read_frame(path, SMALL.with_settings({"time_unit": unit}))
    assert isinstance(frame, Recording)
    assert frame.rate == pytest.approx(float(hertz))


def test_arrays_obey_the_declarations_of_files(tmp_path: Path) -> None:
    """A driver that gives time, temperature and the gyroscope first, in g, degrees and microseconds."""
    rows = np.stack([T * 1e6, GX / DEG, GY / DEG, GZ / DEG, FLAT + 30, AX / G, AY / G, AZ / G])
    declared = SMALL.with_settings(
        {"columns": "t,gx,gy,gz,-,ax,ay,az", "accel_unit": "g", "gyro_unit": "deg/s", "time_unit": "us"}
    )
    expected = preprocess(SMALL, [Recording(MOTION, RATE)])
    np.save(tmp_path / "a.npy", rows)
    np.save(tmp_path / "turned.npy", rows.T)
    frames = [rows, Recording(rows, 0.0), *(read_frame(tmp_path / name, declared) for name in ("a.npy", "turned.npy"))]
    for frame in frames:
        np.testing.assert_allclose(preprocess(declared, [frame]), expected, atol=1e-4)
    with refused(r"expected \(8, t\)"):
        preprocess(declared, [Recording(MOTION, RATE)])
    counts = SMALL.with_settings({"accel_unit": G / 16384, "gyro_unit": DEG / 131})
    raw = np.rint(np.concatenate([MOTION[:3] / G * 16384, MOTION[3:] / DEG * 131]))
    np.testing.assert_allclose(preprocess(counts, [Recording(raw, RATE)]), expected, atol=1e-4)


FORMS = st.sampled_from([(",", "%.9g"), (";", "%.9g"), ("\t", "%.12e"), (" ", "%.9f")])


@settings(deadline=None, max_examples=30)
@given(
    order=st.permutations(["t", "ax", "ay", "az", "gx", "gy", "gz"]),
    units=st.tuples(st.sampled_from(["m/s2", "g", "mg"]), st.sampled_from(["rad/s", "deg/s", "mdeg/s"])),
    clock=st.sampled_from(["s", "ms", "us", "ns"]),
    form=FORMS,
    titled=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_numpy_writes_comes_back(
    order: list[str],
    units: tuple[str, str],
    clock: str,
    form: tuple[str, str],
    titled: bool,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Any order, unit, delimiter and format of numbers, said by the header or declared."""
    sizes = {"m/s2": 1.0, "g": G, "mg": G / 1000, "rad/s": 1.0, "deg/s": DEG, "mdeg/s": DEG / 1000}
    clocks = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
    motion, path = hand(seed=seed), tmp_path_factory.getbasetemp() / "written.csv"
    columns = dict(zip(("ax", "ay", "az"), motion[:3] / sizes[units[0]], strict=True))
    columns |= dict(zip(("gx", "gy", "gz"), motion[3:] / sizes[units[1]], strict=True))
    columns["t"] = T * clocks[clock]
    stated = {"a": units[0], "g": units[1], "t": clock}
    titles = [f"{name}[{stated[name[0]]}]" for name in order]
    delimiter, number = form
    np.savetxt(
        path,
        np.stack([columns[name] for name in order], axis=1),
        delimiter=delimiter,
        fmt=number,
        header=delimiter.join(titles) if titled else "",
        comments="",
    )
    declared = {"columns": ",".join(order), "accel_unit": units[0], "gyro_unit": units[1], "time_unit": clock}
    frame = read_frame(path, SMALL if titled else SMALL.with_settings(declared))
    assert isinstance(frame, Recording)
    assert frame.rate == pytest.approx(RATE, rel=1e-5)
    np.testing.assert_allclose(frame.values, motion, atol=2e-5)


@settings(deadline=None, max_examples=120)
@given(data=st.data(), kind=st.sampled_from(["euroc", "xsens", "bagpy", "npy"]))
def test_damaged_files_are_read_or_refused(
    data: st.DataObject, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"damaged.{kind}"
    short = [column[:6] for column in (T, *MOTION)]
    if kind == "npy":
        np.save(folder / "whole.npy", MOTION[:, :6])
        whole = folder / "whole.npy"
    elif kind == "euroc":
        whole = write(path, EUROC, [NS[:6], *short[4:], *short[1:4]])
    elif kind == "xsens":
        names = ["PacketCounter", "Acc_X", "Acc_Y", "Acc_Z", "Gyr_X", "Gyr_Y", "Gyr_Z"]
        whole = write(path, names, [range(6), *short[1:]], "\t", "// Update Rate: 100.0Hz\n")
    else:
        names = [
            "Time",
            "cov",
            *(f"angular_velocity.{axis}" for axis in "xyz"),
            *(f"linear_acceleration.{axis}" for axis in "xyz"),
        ]
        whole = write(path, names, [short[0], ['(0, "1")'] * 6, *short[4:], *short[1:4]])
    path.write_bytes(data.draw(mutated(whole.read_bytes())))
    modality = SMALL.with_settings({"file_rate": 100})
    outcome(lambda path: preprocess(modality, [read_frame(path, modality)]), path, InputError)
