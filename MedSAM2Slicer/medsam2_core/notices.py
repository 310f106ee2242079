"""What a user should know of an input that is taken all the same: one sentence, told once, whoever asked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InputNotice(UserWarning):
    """Something about an input that is not an error: what was found, and what was made of it."""


def tell(text: str) -> None:
    """Warn with an `InputNotice`; scripts can silence or raise it as any other warning."""
    warnings.warn(text, InputNotice, stacklevel=2)


@contextmanager
def told(show: Callable[[str], None]) -> Iterator[None]:
    """Give each notice of the statements inside to `show`; other warnings go where they went."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", InputNotice)
        elsewhere = warnings.showwarning

        def forward(message: Warning | str, category: type[Warning], *where: object) -> None:
            if issubclass(category, InputNotice):
                show(str(message))
            else:
                elsewhere(message, category, *where)  # type: ignore[arg-type]

        warnings.showwarning = forward  # type: ignore[assignment]
        yield
