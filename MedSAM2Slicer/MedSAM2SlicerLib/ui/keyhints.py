"""What a key does, said in the view the first times that it is pressed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from MedSAM2SlicerLib.ui.services import Services

Actions = dict[str, Callable[[], object]]


def hinted(actions: Actions, services: Services, say: Callable[[str], None]) -> Actions:
    """Return actions that first `say` what their key does, while the user does not know it yet."""
    texts = _texts()
    return {key: partial(_act, key, texts.get(key, ""), action, services, say) for key, action in actions.items()}


def _act(key: str, text: str, action: Callable[[], object], services: Services, say: Callable[[str], None]) -> None:
    if text and services.isKeyNew(key):
        say(f"{key}: {text}")
    action()  # which may have more to say


def _texts() -> dict[str, str]:
    return {
        "a": _("clicks include"),
        "x": _("clicks exclude"),
        "d": _("box by two clicks"),
        "m": _("line along the longest diameter"),
        "s": _("scribble, on or off"),
        "p": _("propagate"),
        "u": _("Live, on or off"),
        "n": _("next doubtful slice"),
        "k": _("accept the slice, or take that back"),
        "l": _("lock the slice, or unlock it"),
    }
