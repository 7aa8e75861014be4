"""Task presets on videos: classes, captions, questions, and where something is at the end."""

from __future__ import annotations

from ofacore.plugin import MetricUse, TaskManifest, TaskPreset

_DATA = "ofa_task_video.data"
_VIDEO = "a video: a path, a folder of pictures, or an array [frames, height, width]"
_MOVING = "[VIDEO:video,size=32,frames=8,augment=none,adapter=video_tubelet]"
_BOX = "[x0, y0, x1, y1] in pixels of its last frame"
_CAPTION_GENERATION = {"strategy": "beam", "beam": 5, "max_length": 32, "no_repeat_ngram": 3}

WITH_DATA = (
    TaskPreset(
        "moving_direction",
        (
            (f"{_MOVING} which way does it move? -> [TEXT:direction,closed_set]", 3.0),
            (f"{_MOVING} where does it go? -> [TEXT:direction,closed_set]", 1.0),
        ),
        "Which way a handwritten digit moves",
        {"video": _VIDEO, "direction": "left, right, up or down"},
        metrics=(MetricUse("accuracy", "direction"),),
        closed_sets={"direction": ("left", "right", "up", "down")},
        data=f"{_DATA}.moving_direction:build",
        baseline=f"{_DATA}.moving_direction:baseline",
        baseline_doc="majority",
        weight=0.5,
        starter=True,
    ),
    TaskPreset(
        "moving_caption",
        (f"{_MOVING} what happens? -> [TEXT:cap]",),
        "What a handwritten digit does, such as: the 3 moves left",
        {"video": _VIDEO, "cap": "a caption"},
        metrics=(MetricUse("accuracy", "cap"), MetricUse("token_f1", "cap")),
        generation={"max_length": 24},
        data=f"{_DATA}.moving_caption:build",
        baseline=f"{_DATA}.moving_caption:baseline",
        baseline_doc="majority",
    ),
    TaskPreset(
        "moving_question",
        (f"{_MOVING} [TEXT:question] -> [TEXT:answer]",),
        "Which digit is it, or which way does it move",
        {"video": _VIDEO, "question": "one of two questions", "answer": "a digit or a direction"},
        metrics=(MetricUse("accuracy", "answer"),),
        generation={"max_length": 12},
        data=f"{_DATA}.moving_question:build",
        baseline=f"{_DATA}.moving_question:baseline",
        baseline_doc="majority of each question",
    ),
    TaskPreset(
        "moving_box",
        (f"{_MOVING} where is it at the end? -> [BOX:box,preprocess=box_coarse]",),
        "Where a handwritten digit is in the last frame",
        {"video": _VIDEO, "box": _BOX},
        metrics=(MetricUse("iou_accuracy", "box", {"threshold": 0.5}),),
        data=f"{_DATA}.moving_box:build",
        baseline=f"{_DATA}.moving_box:baseline",
        baseline_doc="mean box",
    ),
    TaskPreset(
        "video_scene",
        ("[VIDEO:video,size=32,frames=4] which scene is it? -> [TEXT:scene,closed_set]",),
        "Which of three films half a second is from",
        {"video": _VIDEO, "scene": "bikes, cartoon or phone call"},
        metrics=(MetricUse("accuracy", "scene"),),
        closed_sets={"scene": ("bikes", "cartoon", "phone call")},
        data=f"{_DATA}.scenes:build",
        baseline=f"{_DATA}.scenes:baseline",
        baseline_doc="majority",
    ),
)

PLAIN = (
    TaskPreset(
        "video_classify",
        ("[VIDEO:video] what is in the video? -> [TEXT:label_name,closed_set]",),
        "Classes of videos, as of Kinetics",
        {"video": _VIDEO, "label_name": "name of the class"},
        transforms={"label_name": ("replace_underscores",)},
        metrics=(MetricUse("accuracy", "label_name"),),
    ),
    TaskPreset(
        "video_caption",
        ("[VIDEO:video] what does the video describe? -> [TEXT:cap]",),
        "Captions of videos, as of MSR-VTT; several references are joined by `&&` in column `refs`",
        {"video": _VIDEO, "cap": "a caption", "refs": "reference captions, for evaluation"},
        transforms={"cap": ("first_reference",), "refs": ("split_references",)},
        metrics=(MetricUse("cider", "cap", references="refs"),),
        generation=_CAPTION_GENERATION,
    ),
    TaskPreset(
        "video_question_answering_generative",
        ("[VIDEO:video] [TEXT:question] -> [TEXT:answer]",),
        "Questions about videos, as of MSR-VTT-QA; answers are written freely",
        {"video": _VIDEO, "question": "a question", "answer": "its answer"},
        transforms={"question": ("lower",)},
        metrics=(MetricUse("accuracy", "answer"),),
        generation={"strategy": "beam", "beam": 5, "max_length": 16},
    ),
    TaskPreset(
        "video_grounding",
        ('[VIDEO:video] where is " [TEXT:cap] " at the end? -> [BOX:box]',),
        "Where a named thing is in the last frame that is seen",
        {"video": _VIDEO, "cap": "name of the thing", "box": _BOX},
        metrics=(MetricUse("iou_accuracy", "box", {"threshold": 0.5}),),
    ),
)

MANIFEST = TaskManifest("video", (2, 0), WITH_DATA + PLAIN, doc="Tasks on videos.")
