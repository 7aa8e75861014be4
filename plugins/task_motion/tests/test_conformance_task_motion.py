"""The conformance kit on this plugin."""

import numpy as np

from ofa_kit import TaskConformance

CHANNELS = ["Xposition", "Yposition", "Zposition", "Zrotation", "Xrotation", "Yrotation"]
CLIP = {
    "frames": np.cumsum(np.random.default_rng(0).normal(size=(24, 6)), axis=0),
    "fps": 12,
    "skeleton": {
        "joints": [{"name": "root", "parent": -1, "offset": [0.0, 0.0, 0.0], "channels": CHANNELS}]
    },
}


class TestMotionTasks(TaskConformance):
    plugin = "ofa_task_motion.manifest:MANIFEST"
    rows = {
        "actions": [{"motion": CLIP}],
        "text_to_motion": [{"motion": CLIP, "action": "walk"}],
        "motion_diffusion": [{"bvh_frames": CLIP}],
    }
