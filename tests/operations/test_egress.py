"""Whom the server calls, and whom it does not, whatever a name server or the other side says."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from threadmill.egress import LOOPBACK, Egress, EgressError, Refused, Unreachable, check_host, networks, parse_url
from threadmill.errors import ConfigError

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A server that notes what arrives."""

    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # that TLS asked for


@asynccontextmanager
async def listening(
    answer: bytes | Answer = OK, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    peer = Peer()
    if tls is not None:
        tls.sni_callback = lambda _, name, __: peer.names.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.heard.append(await reader.readuntil(b"\r\n\r\n"))
        try:
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()


class Names:
    """A name server whose answers change: the last one is repeated."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = {name.replace("_", "."): list(them) for name, them in answers.items()}
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        them = self._answers[host]
        return them.pop(0) if len(them) > 1 else them[0]


async def outcome(client: Egress, url: str) -> int | EgressError:
    try:
        return await client.post(url, b"{}", {})
    except EgressError as error:
        return error


INSIDE = [
    "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001", "017700000001", "127.0.0.1.", "localhost", "LOCALHOST",
    "a.localhost", "0.0.0.0", "0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]",
    "[::ffff:a00:1]", "[::127.0.0.1]", "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[2001:db8::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
async def test_addresses_inside_are_refused_however_they_are_written(host: str) -> None:
    """Before a call, and where no name server is asked."""
    url = f"http://{host}:9/latest/meta-data"
    with pytest.raises(Refused):
        check_host(parse_url(url))
    if not host.lower().endswith((".localhost", ".")):  # which a name server may not know
        assert isinstance(await outcome(Egress(timeout_s=2), url), Refused)


@pytest.mark.parametrize(
    "host", ["example.com", "93.184.216.34", "[2606:2800:220:1:248:1893:25c8:1946]", "[64:ff9b::93.184.216.34]", "1.1"]
)
def test_names_and_public_addresses_may_be_called(host: str) -> None:
    check_host(parse_url(f"https://{host}/"))


@pytest.mark.parametrize("url", ["", "x", "/x", "//h/x", "ftp://h/", "file:///etc/passwd", "http://", "http://\x00/"])
async def test_what_is_no_http_url_is_refused(url: str) -> None:
    assert isinstance(await outcome(Egress(), url), Refused)


async def test_one_private_address_spoils_the_name() -> None:
    names = Names(mixed_test=[["93.184.216.34", "10.0.0.1"]])
    error = await outcome(Egress(resolve=names), "http://mixed.test/")
    assert isinstance(error, Refused)
    assert "10.0.0.1" not in str(error)  # the inside is not told of


async def test_a_name_is_asked_for_once_and_what_was_checked_is_called() -> None:
    """DNS rebinding: the second answer would lead elsewhere."""
    names = Names(rebind_test=[["127.0.0.1"], ["127.0.0.2"]])
    async with listening() as good, listening(host="127.0.0.2", port=good.port) as bad:
        client = Egress([ipaddress.ip_network("127.0.0.1")], resolve=names)
        assert await outcome(client, f"http://rebind.test:{good.port}/x") == 200
        assert names.asked == 1
        assert isinstance(await outcome(client, f"http://rebind.test:{good.port}/x"), Refused)
    assert (len(good.heard), bad.heard) == (1, [])
    assert f"\r\nHost: rebind.test:{good.port}\r\n".encode() in good.heard[0]


async def test_another_address_of_the_name_is_tried() -> None:
    async with listening() as peer:
        names = Names(two_test=[["127.0.0.3", "127.0.0.1"]])
        assert await outcome(Egress(LOOPBACK, resolve=names), f"http://two.test:{peer.port}/") == 200
        names = Names(two_test=[["127.0.0.3", "127.0.0.4"]])
        assert isinstance(await outcome(Egress(LOOPBACK, resolve=names), f"http://two.test:{peer.port}/"), Unreachable)


async def test_tls_is_with_the_name() -> None:
    """The certificate is checked for the name, although the connection is to an address."""
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("hooks.example.test").configure_cert(theirs)
    authority.configure_trust(ours)
    names = Names(hooks_example_test=[["127.0.0.1"]], other_example_test=[["127.0.0.1"]])
    client = Egress(LOOPBACK, resolve=names, tls=ours)
    async with listening(tls=theirs) as peer:
        assert await outcome(client, f"https://hooks.example.test:{peer.port}/") == 200
        assert isinstance(await outcome(client, f"https://other.example.test:{peer.port}/"), Unreachable)
        assert isinstance(await outcome(Egress(LOOPBACK), f"https://127.0.0.1:{peer.port}/"), Unreachable)
    assert peer.names[:2] == ["hooks.example.test", "other.example.test"]
    assert len(peer.heard) == 1


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with listening() as inside:
        there = f"http://127.0.0.2:{inside.port}/"
        moved = f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {there}\r\ncontent-length: 0\r\n\r\n".encode()
        async with listening(moved) as peer:
            client = Egress([ipaddress.ip_network("127.0.0.1")])
            assert await outcome(client, f"http://127.0.0.1:{peer.port}/") == 307
        assert inside.heard == []


async def test_an_endless_answer_ends() -> None:
    written = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            written += 65536

    async with listening(endless) as peer:
        assert await outcome(Egress(LOOPBACK), f"http://127.0.0.1:{peer.port}/") == 200
    assert written < 64 * 2**20  # what fits into the buffers of the sockets


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"", Unreachable),  # nothing at all
        (b"HTTP/1.1 200 OK\r\nx: ", Unreachable),  # headers, a byte at a time
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", 200),  # the status is known; the rest is of no interest
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", Unreachable),
    ],
)
async def test_a_slow_answer_takes_no_longer_than_allowed(said: bytes, expected: object) -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        while not writer.is_closing():
            writer.write(b"x" if said else b"")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with listening(slow) as peer, asyncio.timeout(5):
        got = await outcome(Egress(LOOPBACK, timeout_s=0.3), f"http://127.0.0.1:{peer.port}/")
    assert got == expected if isinstance(expected, int) else type(got) is expected


async def test_a_name_server_that_is_slow_or_silent_is_unreachable() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    assert isinstance(await outcome(Egress(resolve=never, timeout_s=0.1), "http://a.test/"), Unreachable)
    assert isinstance(await outcome(Egress(resolve=unknown), "http://a.test/"), Unreachable)


async def test_nothing_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with listening() as proxy, listening() as peer:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password secret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        assert await outcome(Egress(LOOPBACK), f"http://127.0.0.1:{peer.port}/") == 200
    assert proxy.heard == []
    assert b"authorization" not in peer.heard[0].lower()


def test_networks_are_read_from_a_setting() -> None:
    assert [str(one) for one in networks("10.0.0.0/8, 192.168.1.7,fd00::/8 ")] == [
        "10.0.0.0/8", "192.168.1.7/32", "fd00::/8",
    ]  # fmt: skip
    assert networks("") == ()
    for wrong in ("10.0.0.1/8", "hooks.example.com", "10.0.0.0/33"):
        with pytest.raises(ConfigError, match="THREADMILL_EGRESS_ALLOW"):
            networks(wrong)
    check_host(parse_url("http://[::ffff:10.1.2.3]/"), networks("10.0.0.0/8"))
    with pytest.raises(Refused):
        check_host(parse_url("http://11.0.0.1.nip.io:80@10.1.2.3/"), networks("11.0.0.0/8"))
