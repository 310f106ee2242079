from collections.abc import Callable
from typing import Any, TypeVar

_Handler = TypeVar("_Handler", bound=Callable[..., object])

def calldata_type(kind: str) -> Callable[[_Handler], _Handler]: ...
def __getattr__(name: str) -> Any: ...
