"""Structs with secrets in them: the secret never appears where a struct is printed, logged or put in a traceback."""

from typing import Any, ClassVar

import msgspec


class Concealed(msgspec.Struct, frozen=True):
    """Base of frozen structs; fields named in `SECRET` print as their length only."""

    SECRET: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> Any:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name in self.SECRET and value is not None:
                value = _Hidden(len(value))
            yield name, value

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"


class _Hidden:
    def __init__(self, length: int) -> None:
        self._length = length

    def __repr__(self) -> str:
        return f"<hidden, {self._length} long>"
