from typing import Any

class AbstractScriptedSegmentEditorEffect:
    scriptedEffect: Any
    def __init__(self, scriptedEffect: Any) -> None: ...
