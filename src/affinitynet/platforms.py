"""Where the project runs: Linux and macOS, with texts in UTF-8."""

import locale
import sys

from affinitynet.errors import UserError


def check_platform() -> None:
    """Check that the pipelines can run here.

    Raises:
        UserError: On Windows, and where files are not read and written in UTF-8.
    """
    if sys.platform == "win32":
        raise UserError(
            "The pipelines run on Linux and macOS. On Windows use WSL, the Windows Subsystem for "
            "Linux: wsl --install, then install and run affinitynet in its terminal."
        )
    encoding = locale.getpreferredencoding(False)
    if encoding.lower().replace("-", "") != "utf8":
        raise UserError(
            f"Text files are read as {encoding} here, but those of the project are in UTF-8; set "
            "PYTHONUTF8=1 in the environment, or a locale such as C.UTF-8."
        )
