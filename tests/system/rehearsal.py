"""A rehearsal of losses, by hand: whole runs in which every stage loses a process.

    python -m tests.system.rehearsal /tmp/rehearsal --images 2000 --lose worker
    python -m tests.system.rehearsal /tmp/rehearsal --images 2000 --lose driver

The first run in a folder is left alone, and is what the others are compared with: maps, labels and
predictions to the bit, and all scores. A run that ends is continued with `resume=true`.
"""

import argparse
import random
import time
from pathlib import Path

import psutil

from tests.conftest import Project

OUTPUTS = {
    "cam.train": "06_models/test/cam/checkpoints/*/checkpoints",
    "cam.infer": "04_feature/test/cam/maps/*/maps",
    "affinity_labels.label": "05_model_input/test/affinity_labels/labels/*/labels",
    "affinity_training.train": "06_models/test/affinity_training/checkpoints/*/checkpoints",
    "revision.walk": "04_feature/test/revision/maps/*/maps",
    "revision.refine": "05_model_input/test/revision/labels/*/labels",
    "segmentation.train": "06_models/test/segmentation/checkpoints/*/checkpoints",
    "segmentation.predict": "07_model_output/test/segmentation/predictions/*/predictions",
}
"""Node -> the folder that it fills."""


class Run:
    """A `kedro run`, started again as often as it ends too early."""

    def __init__(self, project, parameters):
        self.project, self.parameters, self.starts = project, parameters, 0
        self.process = None
        self.ensure()

    def ensure(self):
        """Start the run, or continue it; False once it has ended well."""
        if self.process and self.process.poll() is None:
            return True
        if self.process and self.process.poll() == 0:
            return False
        assert self.starts <= len(OUTPUTS), self.log.read_text()[-3000:]
        resume = {"resume": "true"} if self.starts else {}
        self.log = self.project.folder / f"{self.starts}.log"
        with self.log.open("w") as log:
            self.process = self.project.start(parameters=self.parameters | resume, stdout=log)
        self.starts += 1
        return True

    def lose(self, what):
        victim = psutil.Process(self.process.pid)
        if what == "worker":
            # those of loky; the processes that serve multiprocessing itself are none
            workers = [
                child
                for child in victim.children(recursive=True)
                if "--process-name" in child.cmdline()
            ]
            if not workers:
                return False
            victim = random.choice(workers)
        victim.kill()
        return True


def fill(project, pattern):
    """Files that a node has written so far."""
    return max((len([*folder.iterdir()]) for folder in project.data.glob(pattern)), default=0)


def rehearse(project, parameters, lose, images):
    run = Run(project, parameters)
    for node, pattern in OUTPUTS.items() if lose else ():
        some = 1 if node.endswith("train") else random.randrange(1, max(2, images // 20))
        while fill(project, pattern) < some and run.ensure():
            time.sleep(0.02)
        while run.ensure() and not run.lose(lose):
            time.sleep(0.02)
        made = fill(project, pattern)
        print(f"{node}: lost a {lose} when {made} files were there", flush=True)
        if lose == "driver":
            run.process.wait()
    while run.ensure():
        time.sleep(0.1)
    return run.starts


def contents(project):
    """Maps, labels and predictions, and the scores: path without the version -> bytes."""
    version = project.record()["version"]
    return {
        str(path.relative_to(project.data)).replace(version, ""): path.read_bytes()
        for layer in ("04_feature", "05_model_input", "07_model_output", "08_reporting")
        for path in (project.data / layer).rglob(f"*/{version}/**/*")
        if path.is_file() and (layer != "08_reporting" or path.name == "metrics.json")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--lose", choices=("worker", "driver"), default="worker")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    parameters = {
        "scenes.train": options.images,
        "scenes.val": max(4, options.images // 10),
        "execution.workers": 2,
        "execution.devices": 2,
    }
    found = {}
    for name in ("undisturbed", options.lose):
        project = Project(options.folder.resolve() / name)
        began = time.monotonic()
        if not project.records:
            project.folder.mkdir(parents=True, exist_ok=True)
            lose = options.lose if name == options.lose else None
            starts = rehearse(project, parameters, lose, options.images)
            print(f"{name}: {starts} starts, {time.monotonic() - began:.0f} s", flush=True)
        found[name] = contents(project)
    one, other = found.values()
    differ = sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
    print(f"{len(one)} files compared, {len(differ)} differ", *differ[:10], sep="\n")
    raise SystemExit(bool(differ))


if __name__ == "__main__":
    main()
