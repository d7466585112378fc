"""Benchmarks: measurements of what the documentation promises about speed.

`make bench`, `make bench-kubernetes` and `make bench-vllm` run them, with the tests' Hub and nginx.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), "tests"))
