"""Streams: the newest frame or every frame, deadlines, errors that are results, sources that end, break or hang."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny import CLASSES, DIM, BundleMaker, Linear

from advcal_edge.errors import ConfigError, EngineError, InputError
from advcal_edge.runtime import Embedder
from advcal_edge.runtime.messages import StampedFrame
from advcal_edge.runtime.stream import Stream
from advcal_edge.spec import image

Picture = NDArray[np.uint8]


@pytest.fixture
def embedder(make_bundle: BundleMaker) -> Embedder:
    return Embedder.load(make_bundle(Linear.random(image(8))).path, threads=1)


def picture(seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def accounted(stream: Stream) -> bool:
    """Is every frame that arrived in one of the counts? Of a stream in which none waits."""
    found = stream.statistics
    return found.frames == found.results + found.errors + found.replaced + found.late


def test_every_frame_in_its_order_as_the_embedder_embeds_it(embedder: Embedder) -> None:
    frames = [picture(seed) for seed in range(40)]
    before = time.time_ns()
    with embedder.stream(iter(frames), latest=False, top=2) as results:
        found = list(results)
    assert [result.number for result in found] == list(range(40))
    for result, z in zip(found, embedder.embed_frames(frames), strict=True):
        assert result.z is not None
        np.testing.assert_allclose(result.z, z, atol=1e-6)
        assert result.matches == embedder.match(result.z[None], 2)[0]
        assert result.error is None
        assert before <= result.stamp <= time.time_ns()
        assert result.latency > 0
    assert accounted(results)
    assert (results.statistics.results, results.statistics.replaced, results.stopped) == (40, 0, True)
    with pytest.raises(StopIteration):
        next(results)


def test_the_newest_frame_wins(embedder: Embedder) -> None:
    given = threading.Event()

    def source() -> Iterator[Picture]:
        yield picture(0)
        assert given.wait(10)
        yield from (picture(seed) for seed in range(1, 30))

    with embedder.stream(source()) as results:
        first = next(results)
        given.set()
        wait_for(lambda: results.statistics.frames == 30)
        rest = list(results)
    assert (first.number, [result.number for result in rest]) == (0, [29])
    assert rest[0].z is not None
    np.testing.assert_array_equal(rest[0].z, embedder.embed_frames([picture(29)])[0])
    assert (results.statistics.replaced, results.statistics.results) == (28, 2)
    assert accounted(results)


def test_a_source_waits_for_the_reader(embedder: Embedder) -> None:
    made = 0

    def source() -> Iterator[Picture]:
        nonlocal made
        for seed in range(100):
            made += 1
            yield picture(seed)

    with embedder.stream(source(), latest=False, ahead=3) as results:
        wait_for(lambda: results.statistics.frames == 3)
        time.sleep(0.05)
        assert made == 4  # three wait, and one is in the hand of the thread
        next(results)
        wait_for(lambda: made == 5)
        time.sleep(0.05)
        assert made == 5
    assert results.stopped


def test_no_result_is_older_than_the_deadline(embedder: Embedder) -> None:
    frames = queue.Queue[Picture | None]()
    with embedder.stream(frames, latest=False, deadline=0.5) as results:
        for seed in range(3):
            frames.put(picture(seed))
        wait_for(lambda: results.statistics.frames == 3)
        time.sleep(0.6)
        frames.put(picture(3))
        frames.put(None)
        found = list(results)
    assert [result.number for result in found] == [3]
    assert all(result.latency <= 0.5 for result in found)
    assert results.statistics.late == 3
    assert accounted(results)


def test_a_deadline_that_the_engine_misses_drops_its_result(embedder: Embedder) -> None:
    with embedder.stream([picture(0)], latest=False, deadline=1e-9) as results:
        assert list(results) == []
    assert (results.statistics.late, results.statistics.results) == (1, 0)


def test_frames_that_are_refused_or_unread_are_results(embedder: Embedder) -> None:
    unread = InputError("the camera gave no frame", hint="look")
    source = [picture(0), np.zeros((8, 8), np.float32), unread, "no frame", picture(1)]
    with embedder.stream(source, latest=False) as results:  # type: ignore[arg-type]  # one is none
        found = list(results)
    assert [result.number for result in found] == [0, 1, 2, 3, 4]
    assert [result.error is None for result in found] == [True, False, False, False, True]
    assert "frame 1 is float32 (8, 8)" in str(found[1].error)
    assert found[1].to_json()["hint"]
    assert found[2].error is unread
    assert all(result.z is None and result.matches == [] for result in found[1:4])
    assert (results.statistics.errors, results.statistics.results) == (3, 2)
    assert accounted(results)


def test_what_the_source_raises_comes_after_the_results_before_it(embedder: Embedder) -> None:
    def source() -> Iterator[Picture]:
        yield picture(0)
        yield picture(1)
        raise ZeroDivisionError("the driver broke")

    numbers: list[int] = []
    stream = embedder.stream(source(), latest=False)
    with pytest.raises(ZeroDivisionError, match="driver broke"), stream as results:
        numbers.extend(result.number for result in results)
    assert numbers == [0, 1]
    assert stream.stopped


def test_what_the_source_raised_is_raised_by_a_reader_that_left_before(embedder: Embedder) -> None:
    def source() -> Iterator[Picture]:
        yield picture(0)
        raise ZeroDivisionError("the driver broke")

    def leave() -> None:
        with embedder.stream(source(), latest=False) as results:
            wait_for(lambda: results.stopped)

    with pytest.raises(ZeroDivisionError, match="driver broke"):
        leave()


def test_the_readers_own_exception_is_the_one_that_counts(embedder: Embedder) -> None:
    closed = threading.Event()

    def source() -> Iterator[Picture]:
        try:
            while True:
                yield picture(0)
        finally:
            closed.set()

    stream = embedder.stream(source())
    with pytest.raises(KeyError), stream as results:
        {}[next(results).number]
    assert closed.is_set()
    assert stream.stopped


@pytest.mark.parametrize("kind", [queue.Queue, queue.SimpleQueue])
def test_a_queue_ends_with_none_and_is_left_while_it_is_empty(
    embedder: Embedder, kind: type[queue.Queue[object]]
) -> None:
    frames = kind()
    with embedder.stream(frames) as results:
        frames.put(picture(0))
        assert next(results).number == 0
    assert results.stopped
    with embedder.stream(frames) as results:
        frames.put(None)
        assert list(results) == []


def test_a_stamp_is_kept(embedder: Embedder) -> None:
    with embedder.stream([StampedFrame(1234567890123456789, picture(0))], latest=False) as results:
        (result,) = results
    assert result.stamp == 1234567890123456789
    told = result.to_json(vector=True)
    assert (told["frame"], told["stamp"], len(told["z"])) == (0, 1234567890123456789, DIM)
    assert len(told["matches"]) == 3 < CLASSES


def test_an_engine_that_fails_on_one_frame_goes_on(embedder: Embedder) -> None:
    black = np.zeros((8, 8, 3), np.uint8)  # the tiny encoder divides by the length of its output, which is 0 then
    with embedder.stream([picture(0), black, picture(1)], latest=False) as results:
        found = list(results)
    assert [isinstance(result.error, EngineError) for result in found] == [False, True, False]
    assert "NaN" in str(found[1].error)
    assert (results.statistics.errors, results.statistics.results) == (1, 2)


def test_an_engine_that_is_gone_ends_the_stream(embedder: Embedder) -> None:
    session = embedder.runner._run
    calls = 0

    def lost(feeds: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise EngineError("the card fell off the bus")
        return session(feeds)  # type: ignore[arg-type]

    embedder.runner._run = lost  # type: ignore[assignment]
    stream = embedder.stream([picture(0)] * 9, latest=False)
    with pytest.raises(EngineError, match="bus"), stream as results:
        list(results)
    assert (stream.statistics.results, calls, stream.stopped) == (1, 3, True)


def test_a_source_that_hangs_does_not_hold_the_reader(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advcal_edge.runtime.stream.PATIENCE", 0.1)
    release = threading.Event()

    def source() -> Iterator[Picture]:
        yield picture(0)
        release.wait(10)

    start = time.monotonic()
    with embedder.stream(source()) as results:
        next(results)
    assert time.monotonic() - start < 5
    assert not results.stopped
    release.set()
    wait_for(lambda: results.stopped)


@pytest.mark.parametrize("options", [{"deadline": 0}, {"deadline": float("nan")}, {"top": 0}, {"ahead": 0}])
def test_options_that_cannot_be(embedder: Embedder, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        embedder.stream([], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [0, "rtsp://camera", object(), None])
def test_sources_that_are_none(embedder: Embedder, source: object) -> None:
    with pytest.raises(ConfigError, match="a stream was asked of"):
        embedder.stream(source)  # type: ignore[arg-type]


def test_a_stream_is_opened_once(embedder: Embedder) -> None:
    stream = embedder.stream([picture(0)])
    with pytest.raises(ConfigError, match="not opened"):
        next(stream)
    assert stream.statistics.p50 is None
    with stream as results:
        assert len(list(results)) == 1
    with pytest.raises(ConfigError, match="opened before"):
        stream.__enter__()
