"""A contact sheet of the data: a strip of examples of each class or label."""

from typing import Any

import numpy as np

from fitwell.report.pixels import pixels, shown_images, uri

MOST_CLASSES = 40
A_CLASS = 8
SIDE = 64  # pixels of the longer side of an example


def contact_sheet(data: Any) -> dict[str, Any]:
    """`{"strips": [{"name", "count", "picture"}], "examples", "left"}`; empty where there are no pictures.

    Examples stand evenly over their class, or what has a label, in the order of the source; of numbers,
    from the smallest to the largest (of the first, where there are several).

    Args:
        data: the `Data` that was trained on, or None.

    Returns:
        examples: the names of those that are embedded; left: how many classes are not shown.
    """
    if data is None or data.spec.kind not in ("images", "audio") or not len(data):
        return {}
    target, values = data.each_target()[0]
    order = np.argsort(values, kind="stable")
    groups = [(target, order)]
    if data.targets.ndim == 2 and data.spec.classes:
        groups = [(name, np.flatnonzero(there)) for name, there in data.each_target()]
    elif data.spec.classes:
        starts = np.searchsorted(data.targets[order], np.arange(len(data.spec.classes) + 1))
        groups = [
            (name, order[starts[i] : starts[i + 1]]) for i, name in enumerate(data.spec.classes)
        ]
    strips, keys = [], []
    for name, rows in groups[:MOST_CLASSES]:
        chosen = rows[np.linspace(0, len(rows) - 1, min(A_CLASS, len(rows))).astype(int)]
        if len(chosen):
            strips.append(
                {"name": name, "count": len(rows), "picture": strip(shown_images(data, chosen))}
            )
            keys += [str(key) for key in data.keys[chosen]]
    return {"strips": strips, "examples": keys, "left": max(0, len(groups) - MOST_CLASSES)}


def strip(images: np.ndarray) -> str:
    """[example, channel, height, width] side by side, as the data URI of one picture."""
    from PIL import Image

    height, width = images.shape[2:]
    scale = SIDE / max(height, width)
    # Small images are enlarged by a whole number and without blur, so that each pixel is seen.
    scale = max(1, int(scale)) if scale > 1 else scale
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BILINEAR
    gap = 2
    out = Image.new("RGB", ((size[0] + gap) * len(images) - gap, size[1]), "white")
    for i, image in enumerate(images):
        out.paste(Image.fromarray(pixels(image)).resize(size, way), ((size[0] + gap) * i, 0))
    return uri(out, "PNG" if scale > 1 else "JPEG")
