from typing import TypeVar

_Class = TypeVar("_Class")

def parameterNodeWrapper(classtype: type[_Class]) -> type[_Class]: ...
