"""The frames of one topic of a bag, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from advcal_edge.errors import InputError
from advcal_edge.runtime.bags.bag import Bag, Topic
from advcal_edge.runtime.messages import SOUND_INFO, SUITED, FrameReader, SoundFormat, StampedFrame, stamp_of
from advcal_edge.spec import Modality

SHOWN = 12


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message or a window that gave no frame, why, and its stamp in nanoseconds."""

    stamp: int
    error: InputError


def find_topic(bag: Bag, name: str | None, modality: Modality) -> Topic:
    """The topic of this name, if its messages hold frames of this sensor, and mean what ROS means by them.

    Raises:
        InputError: there is none, it has no messages, or its type does not suit; the message lists the topics of the
            bag, as it does if there is no name.
    """
    from advcal_edge.runtime.bags.definitions import check_definition

    suited = SUITED.get(modality.preprocess, ())
    topic = next((topic for topic in bag.topics if topic.name in (name, f"/{name}")), None)
    if topic is None or topic.kind not in suited:
        fitting = sorted(bag.topics, key=lambda topic: (topic.kind not in suited, topic.name))
        listed = ", ".join(map(str, fitting[:SHOWN])) or "none"
        more = f" and {len(fitting) - SHOWN} more" if len(fitting) > SHOWN else ""
        if name is None:
            what = "is a bag, whose topic is not named"
        else:
            what = f"has {topic.kind or 'several types'} in `{name}`" if topic else f"has no topic `{name}`"
        first = next((topic.name for topic in fitting if topic.kind in suited), None)
        raise InputError(
            f"`{bag.path}` {what}; expected one with {' or '.join(suited)}. It has {listed}{more}",
            hint=f"`--topic {first}`" if first else f"it holds nothing for {modality.name}; record that sensor's topic",
        )
    if not topic.count:
        raise InputError(
            f"`{bag.path}` has no messages in `{topic.name}`; expected one at least",
            hint="was the sensor running, and did the recorder's quality of service match that of its driver?",
        )
    for connection in topic.connections:
        check_definition(connection, bag.is_ros1)
    return topic


def make_reader(
    bag: Bag,
    topic: Topic,
    modality: Modality,
    *,
    every: float | None = None,
    seconds: float | None = None,
    rate: float | None = None,
    stored: bool = False,
) -> FrameReader:
    """What turns the messages of a topic into frames, as for `FrameReader`; `rate` is that of sound without AudioInfo.

    Raises:
        InputError: sound that is described in a way that cannot be read.
        ConfigError: times that cannot be, or sound that nothing describes.
    """
    sound = None
    if modality.preprocess == "audio":
        sound = describe_sound(bag, topic) if rate is None else SoundFormat(rate)
    return FrameReader(modality, topic.kind, every=every, seconds=seconds, sound=sound, stored=stored)


def describe_sound(bag: Bag, topic: Topic) -> SoundFormat | None:
    """What AudioInfo in the bag says of a topic of sound: that of its own namespace, or the only one; else nothing.

    Raises:
        InputError: it says what cannot be read.
    """
    from advcal_edge.runtime.bags.definitions import check_definition

    infos = [one for one in bag.topics if one.kind == SOUND_INFO and one.count]
    beside = [one for one in infos if one.name.rpartition("/")[0] == topic.name.rpartition("/")[0]]
    chosen = beside if len(beside) == 1 else infos
    if len(chosen) != 1:
        return None
    check_definition(chosen[0].connections[0], bag.is_ros1)
    for _, raw in bag.messages(chosen[0]):
        return SoundFormat.of(bag.decode(chosen[0], raw))
    return None


def read_topic(
    bag: Bag, topic: Topic, reader: FrameReader, seen: Callable[[int], None] = lambda count: None
) -> Iterator[StampedFrame | Unreadable]:
    """Every frame of a topic, and what gave none; `seen` is told the number of messages that were read.

    Raises:
        InputError: the bag cannot be read any further; the hint says how to mend it.
    """
    received = 0
    for count, (received, raw) in enumerate(bag.messages(topic), 1):
        seen(count)
        stamp = received
        try:
            message = bag.decode(topic, raw)
            stamp = stamp_of(message) or received
            found = reader.add(message, received)
        except InputError as error:
            yield Unreadable(stamp, error)
            continue
        if found is not None:
            yield found
    try:
        rest = reader.rest()
    except InputError as error:
        yield Unreadable(received, error)
        return
    if rest is not None:
        yield rest
