"""Handlers for `encryption`. An exclusive or is no cipher, but leaves no text to be found."""

import json
from typing import Any

from langgraph_sdk import Auth, Encryption, EncryptionContext
from langgraph_sdk.encryption.types import DecryptResult

KEY = 0x5A
PLAIN = ("topic", "owner")  # keys that stay searchable
MODELS = {"thread", "run", "assistant", "cron", "store", "checkpoint"}

encryption = Encryption()


def xor(data: bytes, key: int = KEY) -> bytes:
    return bytes(byte ^ key for byte in data)


@encryption.encrypt.blob
async def seal(ctx: EncryptionContext, blob: bytes) -> bytes:
    return b"v1" + xor(blob)


@encryption.decrypt.blob
async def unseal(ctx: EncryptionContext, blob: bytes) -> bytes:
    assert blob[:2] == b"v1"
    return xor(blob[2:])


# Each tenant has a key, and nothing is encrypted or decrypted without knowing whose it is.

by_tenant = Encryption()


def key_of(ctx: EncryptionContext) -> int:
    return 0x80 | sum(ctx.metadata["tenant"].encode()) & 0x7F


@by_tenant.encrypt.blob
async def seal_theirs(ctx: EncryptionContext, blob: bytes) -> bytes:
    assert ctx.model in MODELS
    return ctx.metadata["tenant"].encode() + b":" + xor(blob, key_of(ctx))


@by_tenant.decrypt.blob
async def unseal_theirs(ctx: EncryptionContext, blob: bytes) -> bytes | DecryptResult[bytes]:
    if blob[:2] == b"v1":  # from before there were tenants
        return DecryptResult(xor(blob[2:]), replacement=b"anew")
    tenant, _, rest = blob.partition(b":")
    assert tenant.decode() == ctx.metadata["tenant"]
    return xor(rest, key_of(ctx))


@by_tenant.encrypt.json
async def seal_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
    assert ctx.model in MODELS
    assert ctx.field
    assert not {"thread_id", "graph_id", "run_id", "source"} & data.keys()
    hidden = {key: xor(json.dumps(value).encode(), key_of(ctx)).hex() for key, value in data.items()}
    return {
        key: value if key in PLAIN else f"enc:{ctx.metadata['tenant']}:{hidden[key]}" for key, value in data.items()
    }


@by_tenant.decrypt.json
async def unseal_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
    return {key: shown(ctx, value) for key, value in data.items()}


def shown(ctx: EncryptionContext, value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith("enc:"):
        return value
    _, tenant, hidden = value.split(":")
    assert tenant == ctx.metadata["tenant"]
    return json.loads(xor(bytes.fromhex(hidden), key_of(ctx)))


# The same, but the tenant is the user's.

by_user = Encryption()
by_user.encrypt.blob(seal_theirs)
by_user.decrypt.blob(unseal_theirs)
by_user.encrypt.json(seal_json)
by_user.decrypt.json(unseal_json)


@by_user.context
async def of_user(user: Any, ctx: EncryptionContext) -> dict[str, Any]:
    return {**ctx.metadata, "tenant": user["tenant"]}


only_json = Encryption()
only_json.encrypt.json(seal_json)
only_json.decrypt.json(unseal_json)

# What is refused.

nothing = Encryption()
half = Encryption()
half.encrypt.json(seal_json)
blocking = Encryption()
blocking.encrypt.blob(seal)
blocking.decrypt.blob(unseal)
blocking.context(lambda user: {})  # type: ignore[arg-type]


auth = Auth()


@auth.authenticate
async def who(authorization: str | None) -> dict[str, Any]:
    if not authorization:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Unauthorized")
    return {"identity": authorization, "tenant": f"of {authorization}"}


@auth.on.threads
async def own(ctx: Auth.types.AuthContext, value: Any) -> dict[str, Any]:
    """By `label` where the thread has one: that is encrypted, so it cannot be."""
    name = "label" if "label" in (value.get("metadata") or {}) else "owner"
    value["metadata"] = {**(value.get("metadata") or {}), name: ctx.user.identity}
    return {name: ctx.user.identity}
