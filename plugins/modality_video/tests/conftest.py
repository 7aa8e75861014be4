"""Makes `video_clips`, which the tests share, importable from wherever they run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
