"""How one attempt for one card ends: for good, or to be tried again."""


class End(Exception):  # noqa: N818 - an instruction, not an error
    """The job is at its end, in this state and with these words."""

    def __init__(self, state: str, words: str) -> None:
        super().__init__(words)
        self.state = state


class Again(Exception):  # noqa: N818 - an instruction, not an error
    """The job is tried again later; `absent`: the phone was out of reach, so nothing reached the card."""

    def __init__(self, words: str, *, absent: bool = False) -> None:
        super().__init__(words)
        self.absent = absent
