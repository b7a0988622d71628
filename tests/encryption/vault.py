"""Handlers for `encryption`. An exclusive or is no cipher, but leaves no text to be found."""

from langgraph_sdk import Encryption, EncryptionContext

encryption = Encryption()
KEY = 0x5A


@encryption.encrypt.blob
async def seal(ctx: EncryptionContext, blob: bytes) -> bytes:
    return b"v1" + bytes(byte ^ KEY for byte in blob)


@encryption.decrypt.blob
async def unseal(ctx: EncryptionContext, blob: bytes) -> bytes:
    assert blob[:2] == b"v1"
    return bytes(byte ^ KEY for byte in blob[2:])


@encryption.encrypt.json
async def seal_json(ctx: EncryptionContext, data: dict[str, object]) -> dict[str, object]:
    raise AssertionError("nobody calls this")


only_json = Encryption()
only_json.encrypt.json(seal_json)


by_user = Encryption()
by_user.encrypt.blob(seal)
by_user.decrypt.blob(unseal)


@by_user.context
async def of_user(user: object, ctx: EncryptionContext) -> dict[str, object]:
    return {}
