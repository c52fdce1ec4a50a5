"""Fields of a message, checked: the same for objects of rclpy, rosbags, mcap and plain namespaces.

Their arrays differ: `array.array` in rclpy, numpy in rosbags, bytes or lists of numbers in mcap.
"""

from __future__ import annotations

from operator import index
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from advcal_edge import limits
from advcal_edge.errors import InputError

Message: TypeAlias = Any
"""An object with the fields of a ROS message, from any library."""

NANOSECONDS = 10**9

WHOLE = "give the message as the library made it; `ros2 topic echo TOPIC` shows its fields"


def read_field(message: Message, name: str) -> Any:
    """A field by its name.

    Raises:
        InputError: there is none.
    """
    try:
        return getattr(message, name)
    except AttributeError as error:
        raise InputError(f"the message, a {type(message).__name__}, has no field `{name}`", hint=WHOLE) from error


def read_whole(message: Message, name: str) -> int:
    """A whole number of 0 or more.

    Raises:
        InputError: there is none, or it is something else.
    """
    value = read_field(message, name)
    try:
        number = int(value) if isinstance(value, np.bool_) else index(value)
    except TypeError:
        number = -1
    if not 0 <= number < 2**63:
        raise InputError(f"the message has `{name}` {value!r:.40}; expected a whole number from 0 on", hint=WHOLE)
    return number


def read_text(message: Message, name: str) -> str:
    """Text, in printable characters.

    Raises:
        InputError: there is none, or it is something else.
    """
    value = read_field(message, name)
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise InputError(f"the message has `{name}` {value!r:.40}; expected a line of text", hint=WHOLE)
    return value


def read_bytes(message: Message, name: str = "data") -> NDArray[np.uint8]:
    """The bytes (n,) of an array field, without a copy unless they come as a list.

    Raises:
        InputError: there are none, too many, or something else.
    """
    value = read_field(message, name)
    if isinstance(value, list | tuple):
        limits.SENSOR_BYTES.check(len(value), f"`{name}` of the message", InputError)
    try:
        if isinstance(value, list | tuple):
            value = bytes(value)
        if isinstance(value, np.ndarray) and value.dtype.hasobject:
            raise TypeError("objects, whose bytes are addresses")
        raw = np.frombuffer(value, np.uint8) if len(value) else np.empty(0, np.uint8)
    except (AttributeError, BufferError, TypeError, ValueError) as error:
        raise InputError(f"the message has a {type(value).__name__} in `{name}`; expected bytes", hint=WHOLE) from error
    limits.SENSOR_BYTES.check(raw.size, f"`{name}` of the message", InputError)
    return raw


def read_numbers(message: Message, dtype: str, name: str = "data") -> NDArray[Any]:
    """The numbers (n,) of an array field, like `<i2`; of a field of bytes, those that the bytes hold.

    Raises:
        InputError: there are none, too many, or something else.
    """
    value = read_field(message, name)
    if isinstance(value, list | tuple):
        limits.SENSOR_BYTES.check(len(value) * np.dtype(dtype).itemsize, f"`{name}` of the message", InputError)
        try:
            return np.array(value, dtype)
        except (OverflowError, TypeError, ValueError) as error:
            raise InputError(f"the message has `{name}` that is no {dtype}: {error}", hint=WHOLE) from error
    return view_numbers(read_bytes(message, name), dtype)


def view_numbers(raw: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    """The numbers (n,) that bytes hold.

    Raises:
        InputError: the last one is not whole.
    """
    if raw.size % np.dtype(dtype).itemsize:
        raise InputError(f"the message has {raw.size} bytes; expected whole numbers {dtype}", hint=WHOLE)
    return raw.view(dtype)


def take_rows(raw: NDArray[np.uint8], rows: int, used: int, step: int) -> NDArray[np.uint8]:
    """The first `used` of every `step` bytes, (rows, used); the last row may end with what is used.

    Raises:
        InputError: `used` is more than `step`, or the bytes are fewer, or more by a row.
    """
    needed = (rows - 1) * step + used if rows else 0
    if step < used or raw.size < needed or raw.size >= (rows + 1) * max(step, 1):
        raise InputError(
            f"the message has {raw.size:,} bytes; expected {rows} rows of {used}, {step} from start to start",
            hint="height, width, encoding and step must describe the data: was it cut off, or are rows appended to it?",
        )
    if raw.size < rows * step:
        raw = np.concatenate([raw, np.zeros(rows * step - raw.size, np.uint8)])
    return np.ascontiguousarray(raw[: rows * step].reshape(rows, step)[:, :used])


def stamp_of(message: Message) -> int | None:
    """Nanoseconds of the stamp in a message's header; None where it has none, or one that was never set."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    seconds = getattr(stamp, "sec", getattr(stamp, "secs", None))
    fraction = getattr(stamp, "nanosec", getattr(stamp, "nsecs", None))
    try:
        at = index(seconds) * NANOSECONDS + index(fraction)  # type: ignore[arg-type]
    except TypeError:
        return None
    return at or None


def seconds_text(stamp: int) -> str:
    """A stamp in nanoseconds as seconds, all digits kept."""
    sign, stamp = ("-", -stamp) if stamp < 0 else ("", stamp)
    return f"{sign}{stamp // NANOSECONDS}.{stamp % NANOSECONDS:09d}"
