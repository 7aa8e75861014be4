"""Task presets on pictures with boxes: grounding, region captions, detection."""

from __future__ import annotations

from ofa_task_grounding.metrics.components import METRICS
from ofa_task_grounding.transforms import TRANSFORMS
from ofacore.plugin import MetricUse, TaskManifest, TaskPreset

_DATA = "ofa_task_grounding.data"
_IMAGE = "a picture"
_BOX = "[x0, y0, x1, y1] in pixels"
_IOU = {"threshold": 0.5}
_SCENE = "[IMAGE:img,size=64,augment=none]"
_COARSE = "preprocess=box_coarse"

STARTER = (
    TaskPreset(
        "grounding",
        (
            (
                f'{_SCENE} which region does the text " [TEXT:cap] " describe? -> [BOX:box,{_COARSE}]',
                3.0,
            ),
            (f'{_SCENE} where is " [TEXT:cap] "? -> [BOX:box,{_COARSE}]', 1.0),
        ),
        "Where is the named object, in scenes of one to three emoji pictures",
        {"img": _IMAGE, "cap": "name of an object", "box": _BOX, "boxes": "boxes of all objects"},
        metrics=(
            MetricUse("iou_accuracy", "box", _IOU),
            MetricUse("iou_accuracy_any", "box", _IOU, references="boxes"),
        ),
        data=f"{_DATA}.grounding:build",
        baseline=f"{_DATA}.grounding:baseline",
        baseline_doc="mean box",
        weight=2.5,
        starter=True,
    ),
    TaskPreset(
        "region_caption",
        (f"{_SCENE} what does the region describe? region: [BOX:box,{_COARSE}] -> [TEXT:cap]",),
        "Name of the object in a box, in the same scenes",
        {"img": _IMAGE, "box": _BOX, "cap": "name of the object"},
        metrics=(MetricUse("chrf", "cap"), MetricUse("token_f1", "cap")),
        generation={"max_length": 32},
        data=f"{_DATA}.region_caption:build",
        baseline=f"{_DATA}.region_caption:baseline",
        baseline_doc="frequent words",
    ),
    TaskPreset(
        "detection",
        (f"{_SCENE} what are the objects in the image? -> ([BOX:boxes,{_COARSE}] [TEXT:kinds])*",),
        "All objects of the same scenes with their categories",
        {
            "img": _IMAGE,
            "boxes": f"list of {_BOX}",
            "kinds": "category of each",
            "names": "name of each",
        },
        metrics=(MetricUse("detection_map", "boxes", {"labels": "kinds"}),),
        data=f"{_DATA}.detection:build",
        baseline=f"{_DATA}.detection:baseline",
        baseline_doc="mean box, majority",
    ),
    TaskPreset(
        "tree_detection",
        ("[IMAGE:img,size=128] where are the trees? -> ([BOX:boxes])*",),
        "Tree crowns in aerial pictures",
        {"img": _IMAGE, "boxes": f"list of {_BOX}"},
        metrics=(
            MetricUse("detection_map", "boxes"),
            MetricUse("box_recall", "boxes", {"threshold": 0.3}),
            MetricUse("count_error", "boxes"),
        ),
        data=f"{_DATA}.tree_detection:build",
        baseline=f"{_DATA}.tree_detection:baseline",
        baseline_doc="mean boxes",
    ),
)

PLAIN = (
    TaskPreset(
        "refcoco",
        ('[IMAGE:img] which region does the text " [TEXT:cap] " describe? -> [BOX:region_coord]',),
        "Referring expressions (RefCOCO, RefCOCO+, RefCOCOg)",
        {"img": _IMAGE, "cap": "the expression", "region_coord": _BOX},
        transforms={"cap": ("caption_text",)},
        metrics=(MetricUse("iou_accuracy", "region_coord", _IOU),),
    ),
    TaskPreset(
        "grounded_captioning",
        ("[IMAGE:img] what does the region describe? region: [BOX:region_coord] -> [TEXT:cap]",),
        "Caption of a region (RefCOCO family, Visual Genome)",
        {"img": _IMAGE, "region_coord": _BOX, "cap": "the caption"},
        transforms={"cap": ("caption_text",)},
        metrics=(MetricUse("cider", "cap"),),
        generation={"strategy": "beam", "beam": 5, "max_length": 32, "no_repeat_ngram": 3},
    ),
    TaskPreset(
        "object_detection",
        ("[IMAGE:img] what are the objects in the image? -> ([BOX:boxes] [TEXT:names])*",),
        "All objects with their names; `boxes` and `names` may both be mapped to a label column"
        " `x0,y0,x1,y1,id,name&&...`",
        {"img": _IMAGE, "boxes": f"list of {_BOX}", "names": "name of each"},
        transforms={"boxes": ("detection_boxes",), "names": ("detection_names",)},
        metrics=(MetricUse("detection_map", "boxes", {"labels": "names"}),),
    ),
)

MANIFEST = TaskManifest(
    "grounding",
    (2, 0),
    presets=STARTER + PLAIN,
    components=METRICS + TRANSFORMS,
    doc="Tasks on pictures with boxes.",
)
