"""Settings that are fixed when an object is made."""

from typing import Any, ClassVar


class FixedSettings:
    """Refuses to change the attributes named in `fixed` once they are set: nothing would heed the change."""

    fixed: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.fixed and name in self.__dict__:
            kind = type(self).__name__
            raise AttributeError(
                f"{name} of a {kind} is fixed when it is made. Make a new {kind} with the other value."
            )
        super().__setattr__(name, value)
