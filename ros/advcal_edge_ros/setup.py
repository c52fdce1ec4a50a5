"""Package of ROS 2 for the node of advcal-edge, which is installed by pip: see docs/ros.md."""

from __future__ import annotations

from glob import glob

from setuptools import setup

NAME = "advcal_edge_ros"

setup(
    name=NAME,
    version="0.1.0",
    description="Launch file, parameters and profiles for the ROS 2 node of advcal-edge",
    license="Apache-2.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *((f"share/{NAME}/{folder}", glob(f"{folder}/*")) for folder in ("launch", "config", "foxglove")),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    entry_points={"console_scripts": [f"embed_node = {NAME}.embed_node:main"]},
)
