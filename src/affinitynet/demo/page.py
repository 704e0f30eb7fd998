"""The try-out's page.

`make demo` opens it; without make:

    streamlit run src/affinitynet/demo/page.py -- --env voc_cpu
"""

import argparse
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rich
import streamlit
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import resize_long_side, to_rgb, upsample
from affinitynet.core.label_maps import Classes
from affinitynet.demo.stages import Steps, TrainedStages, find_disagreement
from affinitynet.errors import UserError
from affinitynet.pipelines.reporting.pictures import blend, class_colours, paint_heat, paint_labels
from affinitynet.runs.command_line import parse_params
from affinitynet.stages.model import Prediction, open_photo

PROJECT = Path(__file__).parents[3]
SHOWN = 480
"""Pixels of the longer side of the pictures."""
TAGGED = 0.5
"""Probability from which the classifier's word is taken for a tag."""


@streamlit.cache_resource(show_spinner="Reading the networks")
def read_stages(env: str | None, params: str) -> TrainedStages:
    """Read the newest networks, once for all who look at the page."""
    rich.reconfigure(force_terminal=False)  # no progress bars from several threads
    return TrainedStages.of_project(PROJECT, env=env, params=parse_params(params))


# Streamlit calls `main` at every move of a slider; what that does not change is kept.
keep = streamlit.cache_data(max_entries=32, show_spinner=False)


@keep
def segment(_stages: TrainedStages, photo: Image.Image) -> Prediction:
    """See `TrainedStages.segment`."""
    return _stages.segment(photo)


@keep
def classify(_stages: TrainedStages, photo: Image.Image) -> dict[str, float]:
    """See `TrainedStages.classify`."""
    return _stages.classify(photo)


@keep
def activate(_stages: TrainedStages, photo: Image.Image, tags: list[str]) -> ClassMaps:
    """See `TrainedStages.activate`."""
    return _stages.activate(photo, tags)


def over(photo: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Lay a map over the photo."""
    return blend(photo, paint_heat(upsample(heat[None], photo.shape[:2])[0]))


def masked(photo: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Lay a label map over the photo."""
    height, width = photo.shape[:2]
    labels = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    painted = paint_labels(labels).convert("RGB")
    return np.asarray(Image.blend(Image.fromarray(photo), painted, 0.6))


def legend(classes: Classes, shown: npt.NDArray[np.uint8]) -> str:
    """Name the colours of a label map."""
    colours = class_colours(classes)
    return " ".join(
        f'<span style="border-left: 1em solid {colours[name]}; padding: 0 .8em 0 .3em">'
        f"{escape(name)}</span>"
        for name, value in classes.items()
        if (shown == value).any()
    )


def show_steps(photo: npt.NDArray[np.uint8], steps: Steps, classes: Classes) -> None:
    """Show the maps of each tag, before and after the walk, and the pseudo labels."""
    for name, cam, walked in zip(steps.names, steps.cams, steps.walked, strict=True):
        left, right = streamlit.columns(2)
        left.image(over(photo, cam), caption=f"{name}: CAM")
        right.image(
            over(photo, walked / max(walked.max(), 1e-6)), caption=f"{name}: after the random walk"
        )
    left, right = streamlit.columns(2)
    left.image(masked(photo, steps.labels), caption="Pseudo labels: walk and dense CRF")
    right.html(legend(classes, steps.labels) or "All of it is background.")


def main() -> None:
    """Draw the page; Streamlit calls it at every change."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--env")
    parser.add_argument("--params", default="")
    options = parser.parse_args()

    streamlit.set_page_config("affinitynet", layout="centered")
    streamlit.title("Try the trained networks")
    try:
        stages = read_stages(options.env, options.params)
    except UserError as error:
        streamlit.error(str(error))
        return
    file = streamlit.file_uploader("A photo; it stays on this machine.")
    if file is None:
        streamlit.caption(f"Classes: {', '.join(stages.classes)}")
        return
    try:
        image = to_rgb(open_photo(file))
    except (OSError, ValueError) as error:
        streamlit.error(f"{file.name}: {error}")
        return
    photo = np.array(resize_long_side(image, SHOWN))

    prediction = segment(stages, image)
    streamlit.subheader("Segmentation network", help="Stage 5; it needs no tags.")
    left, right = streamlit.columns(2)
    left.image(photo, caption="Photo")
    right.image(masked(photo, prediction.mask), caption="Prediction")
    streamlit.html(legend(stages.classes, prediction.mask) or "All of it is background.")
    likely = classify(stages, image)
    if disagreement := find_disagreement(likely, prediction):
        streamlit.warning(disagreement)

    streamlit.subheader("From tags to pseudo labels", help="Stages 1 to 4.")
    tags = streamlit.pills(
        "Tags, at first those of which the classifier is sure",
        [*likely],
        selection_mode="multi",
        default=[name for name, share in likely.items() if share >= TAGGED],
        format_func=lambda name: f"{name} {likely[name]:.0%}",
    )
    walk = stages.random_walk
    first, second, third = streamlit.columns(3)
    steps = first.select_slider(
        "t, steps of the walk", sorted({0, 4, 16, 64, 256, 1024, walk.steps}), walk.steps
    )
    beta = second.slider("β, exponent of the affinities", 1.0, 32.0, float(walk.beta))
    alpha = third.slider("α, exponent of the background", 1.0, 32.0, float(walk.alpha))
    if not tags:
        streamlit.info("Choose a tag: what does the photo show?")
        return
    cams = activate(stages, image, tags)
    show_steps(
        photo, stages.revise(image, cams, steps=steps, beta=beta, alpha=alpha), stages.classes
    )


if __name__ == "__main__":
    main()
