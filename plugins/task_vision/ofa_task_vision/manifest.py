"""Task presets on pictures: classification, captions, questions, entailment, matching, pictures that are written."""

from __future__ import annotations

from ofa_task_vision.transforms import TRANSFORMS
from ofacore.plugin import Component, LossUse, MetricUse, TaskManifest, TaskPreset

_DATA = "ofa_task_vision.data"
_IMAGE = "a picture"
_CODES = "preprocess=image_vqgan"
_FILLED = f"{_CODES},corruption=masked_codes,generator=maskgit"
_GUIDED = {"prompt_slot": "text", "drop_prompt": 0.1}
_LIKENESS = (MetricUse("psnr", "img"), MetricUse("ssim", "img"))
_CAPTION_GENERATION = {"strategy": "beam", "beam": 5, "max_length": 32, "no_repeat_ngram": 3}

STARTER = (
    TaskPreset(
        "digits",
        (
            ("[IMAGE:img,size=32,augment=none] what digit is it? -> [TEXT:digit,closed_set]", 3.0),
            (
                "[IMAGE:img,size=32,augment=none] which number is written? -> [TEXT:digit,closed_set]",
                1.0,
            ),
        ),
        "Handwritten digits",
        {"img": _IMAGE, "digit": "0 to 9"},
        metrics=(MetricUse("accuracy", "digit"),),
        closed_sets={"digit": tuple("0123456789")},
        data=f"{_DATA}.digits:build",
        baseline=f"{_DATA}.digits:baseline",
        baseline_doc="majority",
        weight=0.4,
        starter=True,
    ),
    TaskPreset(
        "digit_image",
        (
            ("draw the digit [TEXT:digit] -> [IMAGE:img,size=16,augment=none]", 3.0),
            (
                "what does a written [TEXT:digit] look like? -> [IMAGE:img,size=16,augment=none]",
                1.0,
            ),
        ),
        "Picture of a handwritten digit, by flow",
        {"digit": "0 to 9", "img": _IMAGE},
        metrics=(MetricUse("image_class", "img", {"column": "digit"}),),
        data=f"{_DATA}.digits:build",
        baseline=f"{_DATA}.digits:mean_picture",
        baseline_doc="mean picture",
        weight=0.8,
        generation={"guidance": 3.0},
        options={"prompt_slot": "digit", "drop_prompt": 0.1},
        starter=True,
    ),
    TaskPreset(
        "emoji_category",
        (
            ("[IMAGE:img,size=32] which category is it? -> [TEXT:category,closed_set]", 3.0),
            (
                "[IMAGE:img,size=32] what kind of thing does the image show? -> [TEXT:category,closed_set]",
                1.0,
            ),
        ),
        "Category of an emoji picture",
        {"img": _IMAGE, "category": "one of nine categories"},
        metrics=(MetricUse("accuracy", "category"),),
        closed_sets={
            "category": (
                "activities",
                "animals and nature",
                "flags",
                "food and drink",
                "objects",
                "people and body",
                "smileys and emotion",
                "symbols",
                "travel and places",
            )
        },
        data=f"{_DATA}.emoji_category:build",
        baseline=f"{_DATA}.emoji_category:baseline",
        baseline_doc="majority",
        weight=0.8,
        starter=True,
    ),
    TaskPreset(
        "emoji_caption",
        ("[IMAGE:img,size=32] what does the image describe? -> [TEXT:cap]",),
        "English name of an emoji picture",
        {
            "img": _IMAGE,
            "cap": "its name",
            "candidates": "ten names, one of them right (valid and test)",
        },
        metrics=(
            MetricUse("chrf", "cap"),
            MetricUse("token_f1", "cap"),
            MetricUse("retrieval", "cap"),
        ),
        generation={"max_length": 32},
        data=f"{_DATA}.emoji_caption:build",
        baseline=f"{_DATA}.emoji_caption:baseline",
        baseline_doc="frequent words",
    ),
    TaskPreset(
        "emoji_caption_multi",
        ("[IMAGE:img,size=32] what does the image describe in [TEXT:language]? -> [TEXT:cap]",),
        "Name of an emoji picture in one of eight languages",
        {
            "img": _IMAGE,
            "language": "English name of the language",
            "cap": "the name of what is shown",
        },
        metrics=(MetricUse("chrf", "cap"), MetricUse("token_f1", "cap")),
        generation={"max_length": 32},
        data=f"{_DATA}.emoji_caption_multi:build",
        baseline=f"{_DATA}.emoji_caption_multi:baseline",
        baseline_doc="frequent words",
    ),
    TaskPreset(
        "emoji_image",
        (
            (f"draw the emoji [TEXT:cap] -> [IMAGE:img,size=32,{_FILLED}]", 2.0),
            (f"draw the emoji [TEXT:cap] -> [IMAGE:img,size=32,{_CODES}]", 1.0),
        ),
        "Picture of a named emoji, as codes that are filled in (or written one after the other)",
        {"cap": "its English name", "img": _IMAGE},
        metrics=(
            MetricUse("image_retrieval", "img"),
            MetricUse("psnr", "img"),
            MetricUse("ssim", "img"),
        ),
        generation={"steps": 8, "code_temperature": 0.0, "choice_temperature": 1.0},
        data=f"{_DATA}.emoji_image:build",
        baseline=f"{_DATA}.emoji_image:baseline",
        baseline_doc="mean picture",
        weight=0.6,
        options={"prompt_slot": "cap", "drop_prompt": 0.1},
    ),
)

WRITTEN = (
    TaskPreset(
        "image_gen",
        (
            (f"what is the complete image? caption: [TEXT:text] -> [IMAGE:img,{_FILLED}]", 1.0),
            (f"what is the complete image? caption: [TEXT:text] -> [IMAGE:img,{_CODES}]", 1.0),
        ),
        "Pictures from captions as codes, with guidance: the caption is dropped in a tenth of the training samples",
        {"text": "a caption", "img": _IMAGE},
        transforms={"text": ("caption_text",)},
        options=_GUIDED,
    ),
    TaskPreset(
        "image_gen_flow",
        ("what is the complete image? caption: [TEXT:text] -> [IMAGE:img]",),
        "Pictures from captions by flow, with guidance",
        {"text": "a caption", "img": _IMAGE},
        transforms={"text": ("caption_text",)},
        options=_GUIDED,
    ),
    TaskPreset(
        "image_infilling",
        (
            (
                'what is the complete image of " [IMAGE:img,mask_ratio=0.5,augment=none] "?'
                f" -> [IMAGE:img,{_FILLED}]",
                1.0,
            ),
            (
                'what is the complete image of " [IMAGE:img,mask_ratio=0.5,augment=none] "?'
                f" -> [IMAGE:img,{_CODES}]",
                1.0,
            ),
        ),
        "The whole of a picture whose centre is hidden, as codes",
        {"img": _IMAGE},
        metrics=_LIKENESS,
    ),
    TaskPreset(
        "image_inpaint",
        ("fill in the image [IMAGE:img,mask_ratio=0.25,augment=none] -> [IMAGE:img,inpaint=0.25]",),
        "The hidden centre of a picture by flow; all around it is given and stays as it is",
        {"img": _IMAGE},
        metrics=_LIKENESS,
    ),
    TaskPreset(
        "image_edit",
        ("[IMAGE:before,augment=none] [TEXT:text] -> [IMAGE:after]",),
        "A picture changed as a text says, by flow",
        {"before": _IMAGE, "text": "what is to be changed", "after": _IMAGE},
        metrics=(MetricUse("psnr", "after"), MetricUse("ssim", "after")),
        options=_GUIDED,
    ),
    TaskPreset(
        "image_colourise",
        ("add colours to [IMAGE:img,grey,augment=none] -> [IMAGE:img]",),
        "The colours of a grey picture, by flow",
        {"img": _IMAGE},
        metrics=_LIKENESS,
    ),
    TaskPreset(
        "image_upscale",
        ("what is the sharp image of [IMAGE:img,size=16,augment=none] -> [IMAGE:img,size=64]",),
        "A picture at four times its size, by flow",
        {"img": _IMAGE},
        metrics=_LIKENESS,
    ),
)

PLAIN = (
    TaskPreset(
        "caption",
        ("[IMAGE:img] what does the image describe? -> [TEXT:cap]",),
        "Captions, as of COCO; several references are joined by `&&` in column `refs`",
        {"img": _IMAGE, "cap": "a caption", "refs": "reference captions, for evaluation"},
        transforms={"cap": ("first_reference", "caption_text"), "refs": ("split_references",)},
        metrics=(MetricUse("cider", "cap", references="refs"),),
        generation=_CAPTION_GENERATION,
    ),
    TaskPreset(
        "pretrain_caption",
        ("[IMAGE:img] what does the image describe? -> [TEXT:cap]",),
        "Captions from the web, cut to thirty words",
        {"img": _IMAGE, "cap": "a caption"},
        transforms={"cap": ("caption_text",)},
    ),
    TaskPreset(
        "image_classify",
        (
            "[IMAGE:image,preprocess=imagenet] what does the image describe? -> [TEXT:label_name,closed_set]",
        ),
        "Classification with the ImageNet recipe",
        {"image": _IMAGE, "label_name": "name of the class"},
        transforms={"label_name": ("replace_underscores",)},
        metrics=(MetricUse("accuracy", "label_name"),),
    ),
    TaskPreset(
        "patch_classify",
        (
            "[IMAGE:image,preprocess=imagenet,adapter=image_patch_embed] what does the image describe?"
            " -> [TEXT:label_name,closed_set]",
        ),
        "Classification on linear patches, as in fine-tuning masked autoencoders",
        {"image": _IMAGE, "label_name": "name of the class"},
        metrics=(MetricUse("accuracy", "label_name"),),
    ),
    TaskPreset(
        "patch_classify_pooled",
        (
            "[IMAGE:image,preprocess=imagenet,adapter=image_patch_embed]"
            " -> [TEXT:label_name,preprocess=category,head=pooling,generator=pooling]",
        ),
        "Classification by the encoder alone, as masked autoencoders are fine-tuned: pooled patches, one token a class",
        {"image": _IMAGE, "label_name": "name of the class"},
        metrics=(MetricUse("accuracy", "label_name"),),
        losses=(LossUse("pooled_cross_entropy", "image", "label_name"),),
    ),
    TaskPreset(
        "vqa",
        ("[IMAGE:image] [TEXT:question] -> [TEXT:answer,closed_set]",),
        "Questions about pictures, as of VQA v2: answers as `1.0|!+yes&&0.3|!+no`, or one plain answer",
        {
            "image": _IMAGE,
            "question": "a question",
            "answer": "the best answer",
            "answers": "all answers with confidences; may be mapped to the same file column as `answer`",
        },
        transforms={
            "question": ("lower",),
            "answer": ("vqa_best_answer",),
            "answers": ("vqa_answers",),
        },
        metrics=(MetricUse("vqa_score", "answer", references="answers"),),
    ),
    TaskPreset(
        "snli_ve",
        (
            '[IMAGE:img] can image and text1 " [TEXT:cap] " imply text2 " [TEXT:hyp] "? ->'
            ' can image and text1 " [TEXT:cap,no_loss] " imply text2 " [TEXT:hyp,no_loss] "? [TEXT:label,closed_set]',
            '[IMAGE:img] does the image imply " [TEXT:hyp] "? -> [TEXT:label,closed_set]',
        ),
        "Does a picture with its caption imply a text (SNLI-VE)",
        {
            "img": _IMAGE,
            "cap": "its caption",
            "hyp": "the text in question",
            "label": "yes, maybe, no",
        },
        transforms={"cap": ("caption_text",), "hyp": ("caption_text",)},
        metrics=(MetricUse("accuracy", "label"),),
        closed_sets={"label": ("yes", "maybe", "no")},
    ),
    TaskPreset(
        "image_text_matching",
        ('[IMAGE:image] does the image describe " [TEXT:caption] "? -> [TEXT:label,closed_set]',),
        "Does a caption belong to a picture; half the rows carry another picture's caption",
        {"image": _IMAGE, "caption": "a caption", "label": "yes or no"},
        transforms={"caption": ("caption_text",)},
        metrics=(MetricUse("accuracy", "label"),),
        closed_sets={"label": ("no", "yes")},
    ),
)

COMPONENTS = (
    Component(
        "dataset",
        "openmoji",
        f"{_DATA}.openmoji:OpenMoji",
        "Pictures of emoji with names in 14 languages.",
    ),
    *TRANSFORMS,
)

MANIFEST = TaskManifest(
    "vision", (2, 0), STARTER + PLAIN + WRITTEN, COMPONENTS, "Tasks on pictures."
)
