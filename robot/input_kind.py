"""Which messages the node subscribes to for a sensor, and how they are read."""

from __future__ import annotations

from advcal_edge.errors import ConfigError
from advcal_edge.robot.settings import NodeSettings
from advcal_edge.runtime.messages import SUITED, FrameReader, SoundFormat, check_kind
from advcal_edge.runtime.messages.kinds import COMPRESSED, IMAGE, PICTURES
from advcal_edge.spec import Modality

SOUND = "audio_common_msgs/AudioDataStamped"
EVENTS = "event_camera_msgs/EventPacket"

NEWEST = 1
"""Queue of still frames: only the newest counts."""

PICTURES_OF_WINDOW, SAMPLES_OF_WINDOW = 30, 400
"""Queues where each message counts: a second of film, or one or two of motion."""


def input_kind(modality: Modality, settings: NodeSettings) -> str:
    """The type of the messages, as in `sensor_msgs/Image`.

    Raises:
        InputError: the type that was asked for holds no frames of this sensor.
    """
    if settings.input_type:
        return check_kind(settings.input_type, modality)
    suited = SUITED.get(modality.preprocess, ())
    if suited == PICTURES:
        return COMPRESSED if settings.transport == "compressed" else IMAGE
    return {"audio": SOUND, "event": EVENTS}.get(modality.preprocess) or check_kind(next(iter(suited), ""), modality)


def make_reader(modality: Modality, kind: str, settings: NodeSettings) -> FrameReader:
    """Reads the messages; windows start `stride` seconds after each other.

    Raises:
        ConfigError: sound of no rate, or windows that cannot be.
    """
    sound = None
    if modality.preprocess == "audio":
        if not settings.sample_rate:
            raise ConfigError(
                f"nothing says the rate of the sound in `{kind}`; expected the parameter `sample_rate`",
                hint="`--ros-args -p sample_rate:=16000.0`",
            )
        sound = SoundFormat(settings.sample_rate)
    reader = FrameReader(modality, kind, sound=sound)
    if reader.window is None or not settings.stride:
        return reader
    return FrameReader(modality, kind, every=settings.stride, sound=sound)


def queue_depth(reader: FrameReader) -> int:
    """How many messages may wait."""
    if reader.window is None:
        return NEWEST
    return PICTURES_OF_WINDOW if reader.kind in (IMAGE, COMPRESSED) else SAMPLES_OF_WINDOW
