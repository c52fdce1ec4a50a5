"""`ros2 run advcal_edge_ros embed_node --ros-args -p bundle:=BUNDLE`: the node of advcal-edge."""

from __future__ import annotations

import sys

from advcal_edge.robot import node


def main() -> int:
    """Run the node; exit code."""
    return node.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
