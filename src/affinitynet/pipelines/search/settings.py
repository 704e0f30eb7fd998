"""Settings of the dense CRF to try, and the sampler that suggests them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from affinitynet.errors import UserError
from affinitynet.pipelines.parameters import CRFSpace, Range, RefinementSpace
from affinitynet.stages.parameters import Refinement

Setting = dict[str, Any]
"""Values of parameters by name, numbers all of them."""
Values = Range | Sequence[float] | None
"""To try of a parameter; None: it stays as it is."""


def flatten(options: Refinement | RefinementSpace) -> dict[str, Any]:
    """List what can be searched by name, values or what to try: `crf.<name>`, and `confidence`."""
    crf = vars(options.crf or CRFSpace())
    return {f"crf.{name}": value for name, value in crf.items()} | {
        "confidence": options.confidence
    }


def with_setting(options: Refinement, setting: Setting) -> Refinement:
    """Replace values by those of a setting, whose names are those of `flatten`."""
    crf = {name.removeprefix("crf."): value for name, value in setting.items() if "." in name}
    own = {name: value for name, value in setting.items() if "." not in name}
    return replace(options, crf=replace(options.crf, **crf), **own)


def suggest(
    ranges: Mapping[str, Values], present: Setting, trials: int, seed: int = 0
) -> Iterator[tuple[Setting, Callable[[float], Any]]]:
    """Yield settings, each with a function that wants to know its score before the next."""
    if not trials:
        return
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UserError(
            "search.refine needs Optuna: pip install affinitynet[search], then go on with "
            "--params resume=true. search.refine.trials=0 searches only the random walk, without."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(values.low, values.high, log=values.log)
        if isinstance(values, Range)
        else optuna.distributions.CategoricalDistribution(values)
        for name, values in ranges.items()
        if values is not None
    }
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), direction="maximize")
    study.enqueue_trial(
        {name: present[name] for name in distributions if _has(ranges[name], present[name])}
    )
    for _ in range(trials):
        trial = study.ask(distributions)
        # Three digits are plenty, and the score is of exactly what is written down.
        yield (
            {
                name: float(f"{value:.3g}") if isinstance(value, float) else value
                for name, value in trial.params.items()
            },
            partial(study.tell, trial),
        )


def _has(values: Values, value: float) -> bool:
    if isinstance(values, Range):
        return bool(values.low <= value <= values.high)
    return values is not None and value in values
