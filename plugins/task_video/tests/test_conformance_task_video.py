"""The conformance kit on this plugin."""

from ofa_kit import TaskConformance


class TestVideoTasks(TaskConformance):
    plugin = "ofa_task_video.manifest:MANIFEST"
    rows = {name: [{"box": [2, 3, 16, 17]}] for name in ("moving_box", "video_grounding")}
    model = {"preprocessors": {"video": {"size": 16, "frames": 2}}}
