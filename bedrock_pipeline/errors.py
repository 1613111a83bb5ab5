"""The root of every exception that this package raises on purpose.

What belongs here: the base class. The exceptions themselves stand in the room that raises them, except in
the emulator, which imports nothing of the other rooms.
"""


class BedrockPipelineError(Exception):
    """Something that a user can understand and act on.

    Args:
        what: what happened, in one sentence. Never a prompt, an answer or a secret.
        fix: what to do about it, in one sentence; empty where nothing can be said.
    """

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(f"{what} {fix}".strip())
        self.what = what
        self.fix = fix
