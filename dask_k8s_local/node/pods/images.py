"""Images are never pulled; those that shall fail do so as they would."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

_REFERENCE = re.compile(r"^[a-z0-9]+(?:[._:/-]+[a-zA-Z0-9_]+)*(?:@sha256:[0-9a-f]{64})?$")


IGNORED_VARIABLES = ("EXTRA_APT_PACKAGES", "EXTRA_CONDA_PACKAGES", "EXTRA_PIP_PACKAGES")
"""What the entry points of some images act on, which don't run here."""


class ImageError(Exception):
    """An image can't be had: why the container waits, and the reason of the Event that says so."""

    def __init__(self, reason: str, message: str, event: str = "Failed") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.event = event


def check_image(image: str, pull_policy: str, failing: Iterable[str]) -> None:
    """Raise ImageError if the image's name is malformed or matches a pattern of those that fail."""
    if not _REFERENCE.match(image):
        message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}"'
        raise ImageError("InvalidImageName", message, "InspectFailed")
    if not any(fnmatchcase(image, pattern) for pattern in failing):
        return
    if pull_policy == "Never":
        message = f'Container image "{image}" is not present with pull policy of Never'
        raise ImageError("ErrImageNeverPull", message, "ErrImageNeverPull")
    raise ImageError(
        "ErrImagePull",
        f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": '
        f"{image}: not found",
    )


def ignored(environment: Mapping[str, str]) -> list[str]:
    """Return which variables an image would have acted on."""
    return [name for name in IGNORED_VARIABLES if environment.get(name)]
