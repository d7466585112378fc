"""`make bench`: what is promised about speed, measured. The tests' Hub and nginx serve here too."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), "tests"))
