"""Limits on reading untrusted files: one number per kind, each with an environment variable that raises it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from advcal_edge.errors import AdvcalError, ConfigError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest amount of one thing; `ADVCAL_MAX_<name>` in the environment replaces the default."""

    name: str
    default: int
    unit: str

    @property
    def variable(self) -> str:
        """Environment variable that replaces the default."""
        return f"ADVCAL_MAX_{self.name}"

    @property
    def value(self) -> int:
        """The limit in effect.

        Raises:
            ConfigError: the variable holds something other than a positive whole number.
        """
        text = os.environ.get(self.variable)
        if text is None:
            return self.default
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0):
            raise ConfigError(
                f"{self.variable} is `{text[:40]}`; expected a positive whole number of {self.unit}",
                hint=f"the default is {self.default}",
            )
        return int(text)

    def check(self, found: float, where: str, kind: type[AdvcalError]) -> None:
        """Refuse more than the limit; `where` names the thing in the message.

        Raises:
            kind: `found` is larger.
        """
        if found > self.value:
            raise kind(
                f"{where} has {found:,.0f} {self.unit}; expected at most {self.value:,}",
                hint=f"if you trust it, raise the limit: `{self.variable}={found:.0f}`",
            )


JSON_DEPTH = Limit("JSON_DEPTH", 64, "levels of nesting")
MANIFEST_BYTES = Limit("MANIFEST_BYTES", 16 * MIB, "bytes")
REPORT_BYTES = Limit("REPORT_BYTES", 256 * MIB, "bytes")  # a report of 100,000 samples takes about 20 MB
DOCUMENT_BYTES = Limit("DOCUMENT_BYTES", 4 * MIB, "bytes")  # any other JSON or TOML: metadata, notes, settings
LABELS_BYTES = Limit("LABELS_BYTES", 16 * MIB, "bytes")
TENSOR_HEADER_BYTES = Limit("TENSOR_HEADER_BYTES", 16 * MIB, "bytes")  # names, shapes, metadata
SAMPLES_BYTES = Limit("SAMPLES_BYTES", 4096 * MIB, "bytes")  # unpacked
SAMPLES_RATIO = Limit("SAMPLES_RATIO", 200, "times its packed size")  # zeros alone pack 1,000 to 1
INPUT_VALUES = Limit("INPUT_VALUES", 64 * MIB, "values")  # of one input tensor
ENGINE_BYTES = Limit("ENGINE_BYTES", 8192 * MIB, "bytes")  # a graph, all weights beside it, or a plan, each
IR_BYTES = Limit("IR_BYTES", 64 * MIB, "bytes")  # of the XML of an OpenVINO IR, about 2 kB per layer
WEIGHTS_FILES = Limit("WEIGHTS_FILES", 4096, "files")  # that a graph names; some exporters write one per tensor

LISTED_BYTES = Limit("LISTED_BYTES", 16 * 1024 * MIB, "bytes")  # of any file of a bundle, which is hashed whole

# Sensor files
SENSOR_BYTES = Limit("SENSOR_BYTES", 512 * MIB, "bytes")  # of a file that is read whole, and of what it unpacks to
PIXELS = Limit("PIXELS", 64 * MIB, "pixels")  # per image, above the largest of machine vision
FILM_BYTES = Limit("FILM_BYTES", 8192 * MIB, "bytes")
FILM_PIXELS = Limit("FILM_PIXELS", 32 * MIB, "pixels a frame")  # 8K; a decoder holds about twenty frames
FILM_FRAMES = Limit("FILM_FRAMES", 2**17, "frames")  # 73 minutes at 30 Hz; each of them is decoded
TEXT_BYTES = Limit("TEXT_BYTES", 64 * MIB, "bytes")  # motion as CSV: two hours at 100 Hz
LINE_BYTES = Limit("LINE_BYTES", 2**16, "bytes")  # of a line of text, in CSV and in the point formats
SOUND_SAMPLES = Limit("SOUND_SAMPLES", 64 * MIB, "samples of all channels")  # 23 minutes of mono at 48 kHz
MOTION_SAMPLES = Limit("MOTION_SAMPLES", 16 * MIB, "samples an axis")  # 4.6 hours at 1 kHz
EVENTS = Limit("EVENTS", 2**24, "events")  # a frame with more is saturated
EVENT_PIXELS = Limit("EVENT_PIXELS", 4 * MIB, "pixels")  # of an event camera; the largest have 1 to 2 million
EVENT_CHUNKS = Limit("EVENT_CHUNKS", 2**18, "chunks")  # of an HDF5 data set
EVENT_CHUNK_BYTES = Limit("EVENT_CHUNK_BYTES", 64 * MIB, "bytes")
EVENT_RATIO = Limit("EVENT_RATIO", 200, "times the size of its file")
POINTS = Limit("POINTS", 2**24, "points")
POINT_HEADER_BYTES = Limit("POINT_HEADER_BYTES", 2**16, "bytes")
TRIANGLES = Limit("TRIANGLES", 2**23, "triangles")  # of a mesh
LISTED_FILES = Limit("LISTED_FILES", 2**22, "files")  # of a data set; Places365 has 1.8 million, ImageNet 1.3
LISTING_BYTES = Limit("LISTING_BYTES", 128 * MIB, "bytes")  # of one list of a public data set; Places365's has 61 MB
STUDY_CELLS = Limit("STUDY_CELLS", 10_000, "cells")
TOWER_LAYERS = Limit("TOWER_LAYERS", 1024, "layers")  # of a configuration of transformers; the deepest have 100
LABELS = Limit("LABELS", 2**16, "lines")  # of a file of labels or prompts

# Graphs
GRAPH_NODES = Limit("GRAPH_NODES", 100_000, "nodes")  # with functions inlined; the largest encoder has 10,000
GRAPH_DEPTH = Limit("GRAPH_DEPTH", 16, "levels of graphs and functions")
GRAPH_ROUNDS = Limit("GRAPH_ROUNDS", 2**20, "rounds")  # of a loop whose trip count is constant in the graph
GRAPH_VALUES = Limit("GRAPH_VALUES", 2**28, "values")  # of a tensor whose shape is constant in the graph
FIRST_RUN_SECONDS = Limit("FIRST_RUN_SECONDS", 300, "seconds")  # to load a graph, and again for its first call
FIRST_RUN_BYTES = Limit("FIRST_RUN_BYTES", 64 * 1024 * MIB, "bytes")  # and at most three quarters of what is free
BLOCK_BYTES = Limit("BLOCK_BYTES", 1024 * MIB, "bytes")  # of the results kept per 64 samples, unpacked
TIMINGS_BYTES = Limit("TIMINGS_BYTES", 256 * MIB, "bytes")  # of kernels, stored next to a bundle
