"""HTML pages that need nothing but themselves."""

from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"


def fill_template(name: str, **values: Any) -> str:
    """Fill a file of `templates`; all that it is given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("affinitynet.pipelines", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment.get_template(name).render(**values)
