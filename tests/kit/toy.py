"""The least that encrypts."""

from typing import Any


class Toy:
    """A vault that turns the bits over."""

    blobs, objects = True, False

    def seal(self, data: bytes, about: Any) -> bytes:
        return bytes(255 - one for one in data)

    open = seal
