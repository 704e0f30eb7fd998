"""Modules that are imported at their first use: `from affinitynet.deferred import pandas as pd`.

They take longer than all else that a command imports which runs nothing, such as `kedro registry
list`. Annotations must not be evaluated where such a module is used in them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pandas
else:
    import lazy_loader

    pandas = lazy_loader.load("pandas")
