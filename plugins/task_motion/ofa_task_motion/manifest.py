"""Task presets on motion: recognition, fingerspelling, motion from text."""

from __future__ import annotations

from ofacore.plugin import MetricUse, TaskManifest, TaskPreset

_DATA = "ofa_task_motion.data"
_MOTION = "a motion: a path, an array [frames, numbers], or a dict with frames, fps, skeleton"
_SIX = "preprocess=motion_6d,anchor_frame=0,min_length=0"

STARTER = (
    TaskPreset(
        "actions",
        (
            (f"[MOTION:motion,{_SIX}] what is the person doing? -> [TEXT:action,closed_set]", 3.0),
            (f"[MOTION:motion,{_SIX}] which action is it? -> [TEXT:action,closed_set]", 1.0),
        ),
        "Which of fifteen actions a short piece of motion capture shows",
        {"motion": _MOTION, "action": "one of fifteen"},
        metrics=(MetricUse("accuracy", "action"),),
        closed_sets={
            "action": (
                "backflip",
                "cartwheel",
                "crawl",
                "dance a",
                "dance b",
                "getup facedown",
                "getup faceup",
                "jump",
                "kick",
                "punch",
                "roll",
                "run",
                "spin",
                "spinkick",
                "walk",
            )
        },
        data=f"{_DATA}.actions:build",
        baseline=f"{_DATA}.actions:baseline",
        baseline_doc="majority",
        weight=0.3,
        starter=True,
    ),
    TaskPreset(
        "text_to_motion",
        (f"motion capture: [TEXT:text] -> [MOTION:motion,{_SIX}]",),
        "Motion of a described action, by diffusion",
        {"text": "description of the action", "motion": _MOTION, "action": "one of fifteen"},
        metrics=(
            MetricUse("motion_retrieval", "motion", {"label": "action"}),
            MetricUse("motion_mse", "motion"),
        ),
        generation={"scheduler": "ddpm", "steps": 50},
        data=f"{_DATA}.text_to_motion:build",
        baseline=f"{_DATA}.text_to_motion:baseline",
        baseline_doc="one clip for all",
        weight=1.2,
        options={"prompt_slot": "text", "drop_prompt": 0.1},
        starter=True,
    ),
    TaskPreset(
        "fingerspelling",
        (
            (
                "[MOTION:motion,min_length=0] which letter is signed? -> [TEXT:letter,closed_set]",
                3.0,
            ),
            (
                "[MOTION:motion,min_length=0] what does the hand spell? -> [TEXT:letter,closed_set]",
                1.0,
            ),
        ),
        "Which letter is spelled by hand, in sign languages not seen in training",
        {"motion": _MOTION, "letter": "A to Z", "language": "code of the sign language"},
        metrics=(MetricUse("accuracy", "letter"),),
        closed_sets={"letter": tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")},
        data=f"{_DATA}.fingerspelling:build",
        baseline=f"{_DATA}.fingerspelling:baseline",
        baseline_doc="majority",
        weight=0.6,
        starter=True,
    ),
)

PLAIN = (
    TaskPreset(
        "motion_diffusion",
        ("motion capture: [TEXT:text] -> [MOTION:bvh_frames,preprocess=motion_6d]",),
        "Motion from text, with guidance: the description is dropped in a tenth of the training samples",
        {"text": "description of the motion", "bvh_frames": "a BVH file or its frames"},
        generation={"scheduler": "ddim", "steps": 50},
        options={"prompt_slot": "text", "drop_prompt": 0.1},
    ),
    TaskPreset(
        "motion_caption",
        ("[MOTION:motion] what is the person doing? -> [TEXT:text]",),
        "Description of a motion",
        {"motion": _MOTION, "text": "the description"},
        metrics=(MetricUse("rouge", "text"),),
    ),
    TaskPreset(
        "motion_to_motion",
        ("[MOTION:first] -> [MOTION:second]",),
        "What comes next, or another style",
        {"first": _MOTION, "second": _MOTION},
        metrics=(MetricUse("motion_mse", "second"),),
    ),
)

MANIFEST = TaskManifest("motion", (2, 0), presets=STARTER + PLAIN, doc="Tasks on motion.")
