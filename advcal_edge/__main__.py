"""`python -m advcal_edge`: the same as `advcal-edge`."""

import sys

from advcal_edge.cli import main

sys.exit(main())
