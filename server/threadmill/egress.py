"""The one client for calls that the server makes to addresses somebody else names.

A name is resolved once, every address it has is checked, and the connection goes to one of those that were checked:
what the name's owner answers a moment later does not matter. No redirect is followed, nothing of the process's
environment (proxies, netrc) is used, and of what the other side says only the status is kept.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property

import httpx

from threadmill.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is given out; `is_global` knows only what is not
TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))  # 6to4, Teredo: around an IPv4 one
ANSWER_BYTES = 64 * 1024  # read before hanging up, so that a polite server is not cut off


class EgressError(Exception):
    """The message is one sentence and may be shown to whoever named the address."""


class Refused(EgressError):
    """We do not call that; trying again changes nothing."""


class Unreachable(EgressError):
    """Nobody answered; another time may be better."""


def networks(text: str) -> tuple[Network, ...]:
    """From `10.0.0.0/8, 192.168.1.7`; raises ConfigError."""
    try:
        return tuple(ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip())
    except ValueError as error:
        raise ConfigError(
            f"THREADMILL_EGRESS_ALLOW must be networks separated by commas, as 10.0.0.0/8, not {text!r}: {error}."
        ) from None


def parse_url(url: str) -> httpx.URL:
    """Raises Refused for what is no absolute http or https URL."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise Refused("It is not a URL.") from None
    if parsed.scheme not in ("http", "https") or not parsed.raw_host:
        raise Refused("It must be an absolute http:// or https:// URL.")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise Refused(f"{parsed.port} is no port.")
    return parsed


def check_host(url: httpx.URL, allowed: Iterable[Network] = ()) -> None:
    """What can be told without asking a name server: `localhost`, and addresses however they are written."""
    host = _host(url)
    name = host.rstrip(".").lower()
    name = "127.0.0.1" if name.rpartition(".")[2] == "localhost" else name
    with suppress(OSError, UnicodeError):
        check(host, [found[4][0] for found in socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)], allowed)


def check(host: str, addresses: Iterable[str | int], allowed: Iterable[Network]) -> None:
    """Raises Refused unless all of them may be called: one bad address among good ones is how a filter is tried out."""
    for text in addresses:
        address = _plain(ipaddress.ip_address(str(text).partition("%")[0]))
        inside = any(address in network for network in allowed if network.version == address.version)
        if not inside and not _public(address):
            raise Refused(f"{host} leads to an address that is not public.")  # which one is nobody's business


def _plain(address: Address) -> Address:
    """An IPv4 address in the clothes of an IPv6 one, undressed."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        return address.is_global and address in UNICAST and not any(address in tunnel for tunnel in TUNNELS)
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Egress:
    """`allowed` are networks that may be called although they are not public. `timeout_s` is for a call as a whole."""

    def __init__(
        self,
        allowed: Iterable[Network] = (),
        *,
        timeout_s: float = 10.0,
        resolve: Resolve = _resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.allowed = tuple(allowed)
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._tls = tls

    @cached_property
    def _client(self) -> httpx.AsyncClient:  # at the first call: reading the certificates takes some 20 ms
        tls = self._tls
        if tls is None:
            tls = httpx.create_ssl_context(trust_env=False)
            tls.load_default_certs()  # the system's too: it may have an authority of one's own
        # Connections are not kept: one made for a name would serve another name at the same address.
        transport = httpx.AsyncHTTPTransport(
            verify=tls, trust_env=False, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0)
        )
        return httpx.AsyncClient(
            transport=_Pinned(transport, self._resolve, self.allowed),
            timeout=self._timeout_s,
            trust_env=False,
            follow_redirects=False,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer, whatever it is; raises Refused or Unreachable."""
        status: int | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._client.stream("POST", parse_url(url), content=body, headers=headers) as answer:
                    status = answer.status_code
                    read = 0
                    async for chunk in answer.aiter_raw():
                        read += len(chunk)
                        if read > ANSWER_BYTES:
                            break
        except (TimeoutError, httpx.TimeoutException):
            if status is None:
                raise Unreachable(f"No answer within {self._timeout_s:g} seconds.") from None
        except httpx.HTTPError as error:
            if status is None:
                raise Unreachable(f"The call failed: {type(error).__name__}: {error}.") from None
        assert status is not None
        return status

    async def close(self) -> None:
        if "_client" in self.__dict__:
            await self._client.aclose()


class _Pinned(httpx.AsyncBaseTransport):
    """Connects to an address that was checked; the name stays in `Host`, in TLS and in the certificate's check."""

    def __init__(self, inner: httpx.AsyncBaseTransport, resolve: Resolve, allowed: tuple[Network, ...]) -> None:
        self._inner, self._resolve, self._allowed = inner, resolve, allowed

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url
        host = _host(name)
        try:
            addresses = await self._resolve(host, name.port or (443 if name.scheme == "https" else 80))
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise Unreachable(f"The name {host} is unknown.")
        check(host, addresses, self._allowed)
        request.extensions = {**request.extensions, "sni_hostname": host}
        for last, address in [(one == addresses[-1], one) for one in addresses]:
            request.url = name.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except httpx.ConnectError:
                if last:
                    raise
        raise AssertionError("unreachable")

    async def aclose(self) -> None:
        await self._inner.aclose()
