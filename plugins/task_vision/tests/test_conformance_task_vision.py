"""The conformance kit on this plugin."""

from ofa_kit import TaskConformance


class TestVisionTasks(TaskConformance):
    plugin = "ofa_task_vision.manifest:MANIFEST"
    rows = {
        "vqa": [
            {"answer": "yes", "answers": "1.0|!+yes&&0.3|!+no"},
            {"answer": "no", "answers": "1.0|!+no"},
        ]
    }
