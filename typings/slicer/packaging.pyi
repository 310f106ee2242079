from collections.abc import Sequence

def pip_ensure(
    requirements: Sequence[str], *, prompt_install: bool = True, prompt_restart: bool = True, requester: str = ""
) -> None: ...
