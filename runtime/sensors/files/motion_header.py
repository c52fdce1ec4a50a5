"""What the header of a table of motion says: which column is which axis, and in which unit.

Titles are known as EuRoC, ROS, Xsens, WitMotion, KITTI and the recorders of phones write them: an axis is a letter x, y
or z and a word for acceleration or angular rate; a unit stands in brackets or ends the title.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from advcal_edge.runtime.sensors.motion_units import AXES, TIME

SECONDS, NANOSECONDS, COUNTER = "sec", "nsec", "count"

UNITS = {
    "a": {
        "m/s2": "m/s2 m/s/s m/sec2 ms2 ms-2 mps2 meterspersecond2 m/s**2",
        "g": "g gs gee gforce",
        "mg": "mg millig",
    },
    "g": {
        "rad/s": "rad/s rads rads-1 radps rad/sec radpersec radians/s radians/second radianspersecond",
        "deg/s": "deg/s degs degs-1 dps degps deg/sec degpersec degrees/s degrees/second degreespersecond"
        " °/s °s-1 °/sec",
        "mdeg/s": "mdeg/s mdegs mdegs-1 mdps",
    },
    "t": {
        "s": "s sec secs second seconds",
        "ms": "ms msec millis milliseconds millisecond",
        "us": "us usec micros microseconds microsecond",
        "ns": "ns nsec nanos nanoseconds nanosecond",
    },
}
"""By the first letter of what has it: spellings of each unit, in lower case, without blanks and `^`."""

SPELLINGS = {
    letter: {spelling: unit for unit, words in units.items() for spelling in words.split()}
    for letter, units in UNITS.items()
}

PLAIN = str.maketrans("²⁻¹µμ", "2-1uu")

BRACKETS = re.compile(r"[\[({]([^\[\](){}]*)[\])}]\s*$")
WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*|[0-9]+")

OTHER = re.compile(
    r"mag|grav|orient|quat|euler|cov|bias|angle|angularacc|delta|temp|std|var|accur|(?<!ang)(?<!angular)vel"
)
ACCELERATION = re.compile(r"gf|a(rss|b|i|imu)?|.*acc.*")
ANGULAR_RATE = re.compile(
    r"w(rss|b|i|s|imu)?|g|as|rot|omega|.*gyr.*|.*ang(ular)?(vel|rate|speed).*|.*(rotation|turn)rate.*|.*rateofturn.*"
)
SECOND_CHOICE = re.compile(r"lin|user|free|motion|uncal")
CLOCK = re.compile(r"(?!.*(date|fine|zone)).*(time|stamp|elapsed|seconds|secs|millis|micros|nanos|tick)")

PARTS_OF_A_STAMP = {"sec": SECONDS, "secs": SECONDS} | dict.fromkeys(("nsec", "nsecs", "nanosec"), NANOSECONDS)

NANOSECONDS_OF_ROS = re.compile(r"%time|field\.header\.stamp")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the name of what it holds or "", its unit or "", and how far behind others of that name it comes."""

    title: str
    name: str = ""
    unit: str = ""
    rank: int = 0


def read_title(title: str) -> Column:
    """What the title of a column says.

    Raises:
        ValueError: it is an axis, in brackets stands a unit, and it is none of `UNITS`.
    """
    plain = title.strip().strip("\"'").strip()
    stated = BRACKETS.search(plain)
    words = [word.lower() for word in WORDS.findall(BRACKETS.sub("", plain) if stated else plain)]
    if words[-2:-1] == ["stamp"] and words[-1] in PARTS_OF_A_STAMP:  # of ROS: whole seconds, and the rest
        return Column(plain, PARTS_OF_A_STAMP[words[-1]])
    unit = "" if stated else _unit_at_the_end(words)
    name, rank = _axis(words) or _clock(words) or ("", 0)
    if name == TIME and NANOSECONDS_OF_ROS.fullmatch(plain):
        unit = "ns"
    elif name[:1] == "a" and words[0] == "g":  # "gFx", the g-force of Physics Toolbox
        unit = "g"
    if not name:
        return Column(plain)
    known = SPELLINGS["t" if name not in AXES else name[0]]
    if stated and stated[1].strip():
        spelling = normalised(stated[1])
        if spelling not in known:
            if name == TIME:
                return Column(plain)  # "(txt)" and the like: another clock has numbers
            raise ValueError(f"`{plain[:60]}` is in `{stated[1][:20]}`, which is none of {', '.join(UNITS[name[0]])}")
        unit = known[spelling]
    elif name == TIME and not unit:  # "seconds_elapsed"
        unit = next((known[word] for word in words if len(word) > 3 and word in known), "")
    return Column(plain, name, unit if unit in known.values() else known.get(unit, ""), rank)


def normalised(unit: str) -> str:
    """A unit without what spellings differ in."""
    return re.sub(r"^in\s|[\s^*·.]", "", unit.strip().lower().translate(PLAIN))


def is_unit(cell: str) -> bool:
    """Is it a unit, or nothing?"""
    spelling = normalised(cell.strip("[](){}\"' "))
    return not spelling or any(spelling in known for known in SPELLINGS.values())


def _unit_at_the_end(words: list[str]) -> str:
    """The unit that ends a title, taken off its words: `acc_x_mps2`, `gyroXRadPerSec`, `timestamp_ns`."""
    for count in (3, 2, 1):
        tail = "".join(words[-count:])
        letter = next((kind for kind, known in SPELLINGS.items() if tail in known), None)
        if len(words) > count and letter is not None and (letter == "t" or words[-count - 1][-1:] in ("x", "y", "z")):
            del words[-count:]
            return SPELLINGS[letter][tail]
    return ""


def _axis(words: list[str]) -> tuple[str, int] | None:
    """The axis that words name, its letter last or first: `imu0_ax`, `angular velocity y`, `X acceleration`."""
    if words[:1] in (["x"], ["y"], ["z"]):
        words = [*words[1:], words[0]]
    if OTHER.search("".join(words)):
        return None
    for named in ("".join(words), *words[-1:]):
        what, axis = named[:-1], named[-1:]
        if axis not in ("x", "y", "z"):
            continue
        rank = 1 if SECOND_CHOICE.search(what) else 0
        if ACCELERATION.fullmatch(what):
            return "a" + axis, rank
        if ANGULAR_RATE.fullmatch(what):
            return "g" + axis, rank
    return None


def _clock(words: list[str]) -> tuple[str, int] | None:
    joined = "".join(words)
    if joined.endswith("packetcounter"):
        return COUNTER, 0
    if joined in ("t", "ts", "time", "timestamp", "stamp"):
        return TIME, 1
    if CLOCK.match(joined):
        return TIME, 0 if "header" in words else 2
    return None
