"""The conformance kit on this plugin."""

from ofa_kit import TaskConformance


class TestSpeechTasks(TaskConformance):
    plugin = "ofa_task_speech.manifest:MANIFEST"
