"""Public data sets as they are published; importing this package registers their layouts."""

from advcal_edge.calibrate.data.layouts import events, imagenet, llvip, places, shapes, sound, videos
from advcal_edge.calibrate.data.layouts.listing import Box, Listing, Side
from advcal_edge.calibrate.data.layouts.registry import LAYOUTS, Layout, find_layout, layout, suited
from advcal_edge.calibrate.data.layouts.root import Root

__all__ = [
    "LAYOUTS",
    "Box",
    "Layout",
    "Listing",
    "Root",
    "Side",
    "events",
    "find_layout",
    "imagenet",
    "layout",
    "llvip",
    "places",
    "shapes",
    "sound",
    "suited",
    "videos",
]
