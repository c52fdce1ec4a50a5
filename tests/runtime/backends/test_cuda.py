"""The two ways to the CUDA runtime: that they reach it, pass arguments alike, and explain what it says."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from advcal_edge.errors import DependencyError, EngineError
from advcal_edge.runtime.backends import cuda, cuda_library
from advcal_edge.runtime.backends.cuda import Cuda
from advcal_edge.runtime.backends.cuda_library import NO_DRIVER, Library, find_library, libraries


@pytest.mark.skipif(not list(libraries()), reason="neither cuda-python nor libcudart is installed")
def test_reaches_the_runtime_and_explains_its_errors() -> None:
    for backend in libraries():
        code, values = backend.invoke("cudaDriverGetVersion")
        assert (code, len(values)) == (0, 1)
        assert "out of memory" in backend.explain(2)
        assert "driver" in backend.explain(NO_DRIVER)


class FakeLibrary:
    """Records machine words as C functions would receive them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        def function(*arguments: Any) -> int:
            self.calls.append((name, tuple(getattr(a, "value", a) for a in arguments)))
            for argument in arguments:
                if hasattr(argument, "_obj"):
                    argument._obj.value = 42
            return 0

        return function


def library(monkeypatch: pytest.MonkeyPatch) -> tuple[Library, FakeLibrary]:
    fake = FakeLibrary()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake)
    return Library("libcudart.so"), fake


def test_outputs_come_first_but_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, fake = library(monkeypatch)
    assert backend.invoke("cudaMalloc", 2**40) == (0, (42,))
    assert fake.calls[-1][1][1] == 2**40
    assert backend.invoke("cudaStreamEndCapture", 7) == (0, (42,))
    assert fake.calls[-1][1][0] == 7
    assert backend.invoke("cudaMemGetInfo") == (0, (42, 42))
    assert backend.invoke("cudaMemcpyAsync", 1, 2, 3, 1, 9) == (0, ())
    assert fake.calls[-1] == ("cudaMemcpyAsync", (1, 2, 3, 1, 9))


def test_without_any_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_library, "libraries", lambda: iter(()))
    with pytest.raises(DependencyError, match="cuda-python"):
        find_library()


def test_a_runtime_newer_than_the_driver_makes_way_for_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    newer, older = Failing(NO_DRIVER, counts=NO_DRIVER), Failing(0)
    monkeypatch.setattr(cuda_library, "libraries", lambda: iter((newer, older)))
    assert find_library() is older
    monkeypatch.setattr(cuda_library, "libraries", lambda: iter((newer,)))
    assert find_library() is newer
    with pytest.raises(EngineError, match=f"no CUDA device can be used here: words for {NO_DRIVER}"):
        Cuda(newer)


class Failing:
    """A runtime in which a call fails."""

    def __init__(self, code: int, count: int = 1, counts: int = 0) -> None:
        self.code, self.count, self.counts = code, count, counts
        self.asked: list[str] = []

    def invoke(self, name: str, *arguments: int) -> tuple[int, tuple[int, ...]]:
        self.asked.append(name)
        if name == "cudaGetDeviceCount":
            return self.counts, (self.count,)
        return (0, (0,)) if name == "cudaGetDevice" else (self.code, ())

    def explain(self, code: int) -> str:
        return f"words for {code}"

    def device_name(self, index: int) -> str:
        return ""


def test_failures_are_errors_in_words() -> None:
    with pytest.raises(EngineError, match="cudaMalloc failed: words for 700"):
        Cuda(Failing(700)).allocate(1)
    empty = Failing(cuda.OUT_OF_MEMORY)
    with pytest.raises(EngineError, match="out of memory: 123 bytes wanted"):
        Cuda(empty).allocate(123)
    assert empty.asked[-1] == "cudaGetLastError"  # so that nobody else in the process meets it
    with pytest.raises(EngineError, match="it counts no device"):
        Cuda(Failing(0, count=0))
