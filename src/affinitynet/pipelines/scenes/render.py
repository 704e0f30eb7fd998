"""Rendered scenes: small tagged images with exact masks, fully determined by a seed.

Each object has a plain body, whose colour is drawn from one range for all classes, and a small
distinctive part (wheels, a face, a lit window) that reveals its class. A classifier that learns
from tags only looks at the distinctive part, so its CAM misses most of the body; affinities carry
the CAM from there to the object's outline. It is the situation that Ahn & Kwak, CVPR 2018, sec. 1
describe for photos. Untagged pebbles in the colours of the bodies keep colour from giving objects
away.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy
from PIL import Image, ImageDraw

from affinitynet.data.voc import format_annotation

Floats = npt.NDArray[np.float64]

SUPERSAMPLING = 4
ASPECT_RATIOS = (1.0, 0.875, 0.75)
OBJECT_COUNT_PROBABILITIES = (0.35, 0.4, 0.25)  # of 1, 2, 3 objects in a scene
AREA_RANGES = ((0.14, 0.34), (0.11, 0.24), (0.09, 0.16))  # of an object, by their count
MIN_VISIBLE = 0.7  # of an object's area, after occlusion and truncation
MAX_TILT = math.radians(30)
MAX_ATTEMPTS = 50


@dataclass(frozen=True, eq=False)
class Scene:
    """A rendered image and its segmentation.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        mask: (H, W) uint8: 0 for background, else 1 + the class's index in `CLASSES`.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]

    @property
    def tags(self) -> list[str]:
        """The visible classes, in the order of `CLASSES`."""
        visible = np.unique(self.mask)
        return [name for label, name in enumerate(CLASSES, start=1) if label in visible]


def render_scene(
    seed: int | Sequence[int] | np.random.SeedSequence | np.random.Generator,
    *,
    long_side: int = 128,
) -> Scene:
    """Render one scene with one to three objects.

    Args:
        seed: Whatever `numpy.random.default_rng` takes. `[seed, i]` makes image `i` of a data set
            independent of all the others.
        long_side: Length in pixels of the image's longer side; the shorter one is 0.75, 0.875 or
            1 times as long.

    Returns:
        The scene. Every object shows at least `MIN_VISIBLE` of its area and the centres of its
        distinctive part; objects that find no room are left out.
    """
    rng = np.random.default_rng(seed)
    sides = long_side, round(long_side * rng.choice(ASPECT_RATIOS))
    height, width = sides if rng.random() < 0.5 else sides[::-1]
    light = _direction(rng)

    image, taken_colours = _background(rng, height, width)
    clutter = [_clutter(rng, height, width) for _ in range(rng.integers(4, 16))]
    image = _composite(image, _rasterise(clutter, height, width), light)

    count = 1 + rng.choice(3, p=OBJECT_COUNT_PROBABILITIES)
    instances = np.zeros((height, width), np.uint8)
    labels = [0]
    placed: list[_Object] = []
    for label in 1 + rng.integers(len(CLASSES), size=count):
        body = _distinct_colour(rng, taken_colours)
        patches = _DRAWINGS[CLASSES[label - 1]](rng, body)
        for _ in range(MAX_ATTEMPTS):
            area = rng.uniform(*AREA_RANGES[count - 1]) * height * width
            candidate = _pose(rng, patches, area, height, width)
            layer = _rasterise(candidate.patches, height, width)
            occluded = np.where(layer[..., 3] >= 0.5, np.uint8(len(labels)), instances)
            if all(_in_sight(o, occluded == i) for i, o in enumerate([*placed, candidate], 1)):
                image, instances = _composite(image, layer, light), occluded
                placed.append(candidate)
                labels.append(int(label))
                taken_colours = np.vstack([taken_colours, body])
                break
    return Scene(_expose(rng, image, light), np.array(labels, np.uint8)[instances])


def voc_annotation(scene_id: str, scene: Scene) -> str:
    """Write a scene's tags as PASCAL VOC does: the text of `Annotations/<scene_id>.xml`.

    There is one `object` element a class and no bounding boxes: tags are all the supervision.
    """
    height, width = scene.image.shape[:2]
    return format_annotation(f"{scene_id}.jpg", width, height, scene.tags)


# --- objects: lists of coloured polygons, x to the right, y down, about [-1, 1] on the longer axis


class _Patch(NamedTuple):
    outline: Floats  # (N, 2) x, y
    colour: Floats  # (3,) in [0, 1]
    distinctive: bool = False


class _Object(NamedTuple):
    patches: list[_Patch]  # in pixels; the first one is the body
    area: float  # in pixels, when all of it is visible


def _car(rng: np.random.Generator, body: Floats) -> list[_Patch]:
    roof, cabin = rng.uniform(-0.62, -0.42), rng.uniform(-0.25, 0.15)
    top = [(-0.55, -0.14), (-0.36, roof), (0.3, roof), (0.58, -0.12)]
    top = [(cabin + x, y) for x, y in top]
    outline = [(-1, 0.35), (-1.02, -0.08), *top, (0.98, -0.02), (1.03, 0.35)]
    lintel = roof + 0.21
    panes = (
        [(-0.44, 0), (-0.3, lintel), (-0.03, lintel), (-0.03, 0)],
        [(0.04, 0), (0.04, lintel), (0.25, lintel), (0.45, 0)],
    )
    rubber, rim, lamp = _jitter(rng, (0.1, 0.1, 0.12), (0.85, 0.85, 0.85), (1, 0.85, 0.3))
    radius = rng.uniform(0.23, 0.28)
    patches = [_Patch(_rounded(outline, 2), body)]
    patches += [_Patch(np.add(_rounded(pane, 1), (cabin, -0.12)), 0.6 * body) for pane in panes]
    patches += [_Patch(_ellipse(0.95, 0.08, 0.07, 0.07), lamp)]
    for x in (-0.55, 0.55):
        patches += [
            _Patch(_ellipse(x, 0.36, radius, radius), rubber, distinctive=True),
            _Patch(_ellipse(x, 0.36, 0.6 * radius, 0.6 * radius), rim),
            _Patch(_ellipse(x, 0.36, 0.2 * radius, 0.2 * radius), rubber),
        ]
    return patches


def _fish(rng: np.random.Generator, body: Floats) -> list[_Patch]:
    depth, fork = rng.uniform(0.4, 0.55), rng.uniform(0.3, 0.5)
    white, black, lips = _jitter(rng, (0.97, 0.95, 0.9), (0.08, 0.08, 0.1), (0.95, 0.45, 0.4))
    tail = [(-0.55, 0), (-1.2, -fork), (-1.02, 0), (-1.2, fork)]
    dorsal = [(0.3, -0.75 * depth), (-0.1, -1.5 * depth), (-0.5, -1.2 * depth), (-0.45, -0.1)]
    fin = [(0.12, 0.1), (-0.3, 0.15 * depth), (-0.32, 0.62 * depth), (-0.05, 0.55 * depth)]
    return [
        _Patch(_ellipse(0, 0, 0.85, depth), body),
        _Patch(_rounded(tail, 1), 0.85 * body),
        _Patch(_rounded(dorsal, 1), 0.85 * body),
        _Patch(_ellipse(0, 0, 0.85, depth), body),
        _Patch(_rounded(fin, 2), 0.8 * body),
        _Patch(_crescent(0.85, depth, 0.12, 0.34), black),
        _Patch(_crescent(0.85, depth, 0.16, 0.3), white, distinctive=True),
        _Patch(_ellipse(0.8, 0.1 * depth, 0.08, 0.06), lips),
        _Patch(_ellipse(0.53, -0.25 * depth, 0.12, 0.12), white),
        _Patch(_ellipse(0.56, -0.25 * depth, 0.07, 0.07), black, distinctive=True),
    ]


def _house(rng: np.random.Generator, body: Floats) -> list[_Patch]:
    eaves, half = rng.uniform(-0.25, -0.05), rng.uniform(0.7, 0.9)
    ridge, window = rng.uniform(-0.25, 0.25), rng.uniform(-0.4, 0.4)
    white, glow, wood = _jitter(rng, (0.96, 0.95, 0.92), (1, 0.8, 0.25), (0.4, 0.24, 0.14))
    walls = [(-half, 0.8), (-half, eaves), (ridge, -0.85), (half, eaves), (half, 0.8)]
    roof = [(-half - 0.12, eaves + 0.08), (ridge, -0.95), (half + 0.12, eaves + 0.08)]
    panes = [_box(window + x, 0.22 + y, 0.085, 0.085) for x in (-0.11, 0.11) for y in (-0.11, 0.11)]
    return [
        _Patch(np.array(walls), body),
        _Patch(_box(-0.55 * half, -0.55, 0.1, 0.3), 0.65 * body),
        _Patch(np.array(roof), 0.75 * body),
        _Patch(_box(window, 0.22, 0.24, 0.24), white),
        *[_Patch(pane, glow, distinctive=True) for pane in panes],
        _Patch(_box(window, 0.49, 0.3, 0.05), wood),
    ]


def _owl(rng: np.random.Generator, body: Floats) -> list[_Patch]:
    width = rng.uniform(0.5, 0.62)
    cream, amber, black, orange = _jitter(
        rng, (0.97, 0.92, 0.8), (0.98, 0.68, 0.1), (0.06, 0.06, 0.08), (0.9, 0.5, 0.12)
    )
    right = [(0.3, -0.8), (0.85, -1), (0.85, -0.5), (1.1, 0.2), (0.9, 0.85), (0, 1.05)]
    left = [(-x, y) for x, y in right[-2::-1]]
    wing = _rounded([(0.75, -0.2), (1.15, 0.1), (1.0, 0.75), (0.6, 0.6)], 2)
    beak = np.array([(-0.08, -0.36), (0.08, -0.36), (0, -0.16)])
    patches = [_Patch(_rounded(right + left, 3) * (width, 1), body)]
    patches += [_Patch(wing * (side * width, 1), 0.75 * body) for side in (-1, 1)]
    for x in (-0.38 * width, 0.38 * width):
        patches += [
            _Patch(_ellipse(x, -0.45, 0.4 * width, 0.22), cream),
            _Patch(_ellipse(x, -0.45, 0.26 * width, 0.145), amber, distinctive=True),
            _Patch(_ellipse(x, -0.45, 0.14 * width, 0.08), black),
        ]
    return [*patches, _Patch(beak, orange)]


_DRAWINGS: dict[str, Callable[[np.random.Generator, Floats], list[_Patch]]] = {
    "car": _car,
    "fish": _fish,
    "house": _house,
    "owl": _owl,
}
CLASSES: tuple[str, ...] = tuple(_DRAWINGS)


def _box(x: float, y: float, half_width: float, half_height: float) -> Floats:
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    return corners * (half_width, half_height) + (x, y)


def _ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Floats:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


def _crescent(radius_x: float, radius_y: float, left: float, right: float) -> Floats:
    """A bent band across an ellipse around 0, from x = `left` to `right` on its axis."""
    y = np.linspace(-0.97, 0.97, 24)
    bend = 0.14 * (1 - y**2) - 0.14
    edges = [np.minimum(x + bend, radius_x * np.sqrt(1 - y**2)) for x in (left, right)]
    x = np.concatenate([edges[0], edges[1][::-1]])
    return np.stack([x, radius_y * np.concatenate([y, y[::-1]])], axis=1) * (1, 0.96)


def _rounded(outline: Sequence[tuple[float, float]] | Floats, rounds: int) -> Floats:
    """Cut a polygon's corners `rounds` times (Chaikin, 1974)."""
    points = np.array(outline, float)
    for _ in range(rounds):
        following = np.roll(points, -1, axis=0)
        cuts = 0.8 * points + 0.2 * following, 0.2 * points + 0.8 * following
        points = np.stack(cuts, axis=1).reshape(-1, 2)
    return points


def _pose(
    rng: np.random.Generator, patches: list[_Patch], area: float, height: int, width: int
) -> _Object:
    """Stretch, flip, tilt, scale (to a body of `area` pixels) and place an object."""
    angle, stretch = rng.uniform(-MAX_TILT, MAX_TILT), math.sqrt(rng.uniform(0.75, 1.3))
    flip = rng.choice([-1, 1])
    cos, sin = math.cos(angle), math.sin(angle)
    transform = np.array([[cos, sin], [-sin, cos]]) * [[flip * stretch], [1 / stretch]]
    body = patches[0].outline @ transform
    transform *= math.sqrt(area / _polygon_area(body))
    points = np.concatenate([patch.outline for patch in patches]) @ transform
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.05 * max(height, width)  # how far an object may leave the image
    free = np.array([width, height]) - (high - low)
    shift = rng.uniform(np.minimum(-margin, free / 2), np.maximum(free + margin, free / 2)) - low
    posed = [patch._replace(outline=patch.outline @ transform + shift) for patch in patches]
    return _Object(posed, area)


def _polygon_area(points: Floats) -> float:
    x, y = points.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _in_sight(candidate: _Object, visible: npt.NDArray[np.bool_]) -> bool:
    """Whether enough of an object is visible, the centres of its distinctive part included."""
    centres = [p.outline.mean(axis=0) for p in candidate.patches if p.distinctive]
    height, width = visible.shape
    return visible.sum() >= MIN_VISIBLE * candidate.area and all(
        0 <= x < width and 0 <= y < height and visible[int(y), int(x)] for x, y in centres
    )


# --- layers: (H, W, 4) RGBA in [0, 1], colour not premultiplied


def _rasterise(patches: list[_Patch], height: int, width: int) -> Floats:
    canvas = Image.new("RGBA", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    for patch in patches:
        colour = tuple(int(c) for c in (255 * patch.colour).round())
        draw.polygon((patch.outline * SUPERSAMPLING - 0.5).ravel().tolist(), fill=(*colour, 255))
    return np.asarray(canvas.reduce(SUPERSAMPLING)) / 255


def _composite(image: Floats, layer: Floats, light: Floats) -> Floats:
    """Lay a lit, slightly bulging layer and its shadow over an image."""
    unit = max(image.shape) / 128
    alpha = layer[..., 3]
    height: Floats = scipy.ndimage.gaussian_filter(alpha, 3 * unit)
    shadow: Floats = scipy.ndimage.shift(height, -2.5 * unit * light, order=1)
    slope = sum(light[axis] * np.gradient(height, axis=axis) for axis in (0, 1))
    shading = 1 - 1.6 * unit * slope
    shaded = image * (1 - 0.5 * shadow[..., None])
    lit: Floats = layer[..., :3] * shading[..., None]
    return shaded + alpha[..., None] * (lit - shaded)


def _clutter(rng: np.random.Generator, height: int, width: int) -> _Patch:
    """A pebble or a twig."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    radii = rng.uniform(0.6, 1.2, 7)
    blob = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)
    length = max(height, width) * rng.uniform(0.02, 0.09)
    if rng.random() < 0.25:
        along = _direction(rng)
        blob = np.stack([0.12 * blob[:, 0], 1.5 * blob[:, 1]], 1) @ [along, along[::-1] * (-1, 1)]
    outline = _rounded(length * blob + rng.uniform(0, (width, height)), 3)
    return _Patch(outline, _object_colours(rng, 1)[0])


# --- backgrounds and light


def _background(rng: np.random.Generator, height: int, width: int) -> tuple[Floats, Floats]:
    """One or two textures, (H, W, 3) in [0, 1], and the colours they are made of, (N, 3)."""
    image, colours = _texture(rng, height, width)
    if rng.random() < 0.4:
        other, other_colours = _texture(rng, height, width)
        y, x = _grid(height, width)
        across = _direction(rng)
        wave = across[0] * y + across[1] * x + 0.3 * (_noise(rng, height, width, 3) - 0.5)
        border = np.clip(60 * (wave - rng.uniform(-0.15, 0.15)), 0, 1)[..., None]
        image = image + border * (other - image)
        colours = np.vstack([colours, other_colours])
    grain = 1 + 0.3 * (_noise(rng, height, width, 40) - 0.5)
    return image * grain[..., None], colours


def _texture(rng: np.random.Generator, height: int, width: int) -> tuple[Floats, Floats]:
    hue = rng.random() + rng.normal(0, 0.06, 3)
    colours = _rgb(hue, rng.uniform(0.1, 0.45, 3), rng.uniform(0.3, 0.9, 3))
    noise = _noise(rng, height, width, rng.uniform(2, 8))
    y, x = _grid(height, width)
    down, right = _direction(rng)
    along = down * y + right * x  # the direction of the gradient, or across the stripes
    match rng.integers(5):
        case 0:  # clouds
            field = noise
        case 1:  # gradient
            field = np.clip(0.5 + along + 0.3 * (noise - 0.5), 0, 1)
        case 2:  # wavy stripes
            field = 0.5 + 0.5 * np.sin(rng.uniform(20, 70) * along + 6 * noise)
        case 3:  # blotches
            field = np.clip(0.5 + 12 * (noise - 0.5), 0, 1) * 0.7 + 0.3 * noise
        case _:  # marble veins
            field = np.abs(2 * noise - 1) ** 0.5
    knots = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(field, knots, channel) for channel in colours.T], -1), colours


def _noise(rng: np.random.Generator, height: int, width: int, cells: float) -> Floats:
    """Fractal noise in [0, 1], (H, W), its coarsest octave with `cells` on the longer side."""
    total: Floats = np.zeros((height, width))
    for octave in range(4):
        pitch = max(height, width) / (cells * 2**octave)
        shape = math.ceil(height / pitch) + 2, math.ceil(width / pitch) + 2
        values = Image.fromarray(rng.random(shape, np.float32))
        layer = values.resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(layer) * 0.55**octave
    total -= total.min()
    total /= total.max()
    return total


def _expose(rng: np.random.Generator, image: Floats, light: Floats) -> npt.NDArray[np.uint8]:
    """Light an image from one side and photograph it: falloff, blur and sensor noise."""
    height, width, _ = image.shape
    y, x = _grid(height, width)
    illumination = 1 + rng.uniform(0, 0.4) * (light[0] * y + light[1] * x)
    blurred = scipy.ndimage.gaussian_filter(image, rng.uniform(0.2, 0.6), axes=(0, 1))
    noise = rng.normal(0, rng.uniform(0.005, 0.02), image.shape)
    exposed: Floats = blurred * illumination[..., None] + noise
    return np.rint(255 * np.clip(exposed, 0, 1)).astype(np.uint8)


def _grid(height: int, width: int) -> Floats:
    """(2, H, W) y and x, 0 at the centre, in units of the longer side."""
    centre = np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    offsets: Floats = np.indices((height, width)) - centre
    return offsets / max(height, width)


def _direction(rng: np.random.Generator) -> Floats:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.sin(angle), np.cos(angle)])


# --- colours: RGB in [0, 1]


def _object_colours(rng: np.random.Generator, count: int) -> Floats:
    return _rgb(rng.random(count), rng.uniform(0.25, 0.75, count), rng.uniform(0.45, 0.95, count))


def _distinct_colour(rng: np.random.Generator, taken: Floats) -> Floats:
    """Of a few colours, the one farthest from those that are `taken`, (N, 3)."""
    colours = _object_colours(rng, 8)
    distances = np.linalg.norm(colours[:, None] - taken, axis=-1).min(axis=1)
    farthest: Floats = colours[distances.argmax()]
    return farthest


def _jitter(rng: np.random.Generator, *colours: tuple[float, float, float]) -> Floats:
    return np.clip(rng.normal(colours, 0.03), 0, 1)


def _rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """HSV to RGB: three (N,) in [0, 1], the hue of any whole turn, to (N, 3)."""
    pure = np.clip(np.abs((hue[:, None] * 6 + (0, 4, 2)) % 6 - 3) - 1, 0, 1)
    rgb: Floats = value[:, None] * (1 - saturation[:, None] * (1 - pure))
    return rgb
