"""The ROS 2 package around the node of advcal-edge."""
