"""Certificates are always verified, over a real TLS server on this machine."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import trustme

from dashscope_ft_async import (
    APIConnectionError,
    ConfigurationError,
    FineTuneClient,
    JobStatus,
    RetryPolicy,
)
from tests.conftest import KEY
from tests.support.adversary import JOB_ID, Adversary, good

TWICE = RetryPolicy(attempts=2, initial=0.01, max_delay=0.01)


class Ground:
    """A server with a certificate for 127.0.0.1 of a CA that nobody knows."""

    def __init__(self) -> None:
        self.ca: Any = trustme.CA()  # its types name a library that is not installed
        self.certificate = self.ca.issue_cert("127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate.configure_cert(context)
        self.service = Adversary(good, tls=context)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.service.port}"

    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context

    def pin(self) -> aiohttp.Fingerprint:
        pem = self.certificate.cert_chain_pems[0].bytes().decode()
        return aiohttp.Fingerprint(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest())


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    ground = Ground()
    async with ground.service:
        yield ground


async def refusal(url: str, **options: Any) -> APIConnectionError:
    async with FineTuneClient(KEY, base_url=url, retry=TWICE, **options) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.get(JOB_ID)
        with pytest.raises(APIConnectionError) as waited:  # in seconds, not after an outage's 15 minutes
            async with asyncio.timeout(5):
                await client.wait_for_terminal(JOB_ID)
    assert caught.value.never_connected
    assert waited.value.never_connected
    return caught.value


async def test_a_certificate_of_an_unknown_ca_is_refused_and_named(ground: Ground) -> None:
    error = await refusal(ground.url)
    assert str(error).startswith("the certificate of 127.0.0.1 is not accepted: unable to get local issuer")
    assert ground.service.heads == []


async def test_a_certificate_for_another_host_is_refused_and_named(ground: Ground) -> None:
    error = await refusal(f"https://localhost:{ground.service.port}", ssl=ground.trust())
    assert "certificate is not valid for 'localhost'" in str(error)
    assert ground.service.heads == []


async def test_a_certificate_of_another_fingerprint_is_refused_and_named(ground: Ground) -> None:
    error = await refusal(ground.url, ssl=aiohttp.Fingerprint(bytes(32)))
    assert "certificate of 127.0.0.1 is not the one" in str(error)
    assert ground.service.heads == []


async def test_a_server_without_tls_is_named_in_plain_words() -> None:
    """It read "operation not permitted"."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(f"https://127.0.0.1:{port}")
    assert str(error).startswith(f"cannot make a TLS connection to 127.0.0.1:{port}: wrong version number")


@pytest.mark.parametrize("how", ["trust", "pin"])
async def test_a_private_ca_or_a_fingerprint_goes_through_ssl(ground: Ground, how: str) -> None:
    async with FineTuneClient(KEY, base_url=ground.url, ssl=getattr(ground, how)()) as client:
        assert (await client.get(JOB_ID)).status is JobStatus.SUCCEEDED


async def test_a_private_ca_goes_through_a_borrowed_session(ground: Ground) -> None:
    connector = aiohttp.TCPConnector(ssl=ground.trust())
    async with aiohttp.ClientSession(connector=connector) as session:
        client = FineTuneClient(KEY, base_url=ground.url, session=session)
        assert (await client.get(JOB_ID)).status is JobStatus.SUCCEEDED
        await client.close()


def blind(*, verify: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    "given",
    [False, blind(), blind(verify=True), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)],
    ids=["False", "no verification", "no host names", "a server's"],
)
async def test_verification_cannot_be_switched_off(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="ssl must"):
        FineTuneClient(KEY, ssl=given)


@pytest.mark.parametrize("given", [False, blind()], ids=["False", "no verification"])
async def test_a_borrowed_session_that_does_not_verify_is_refused(given: Any) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=given)) as session:
        with pytest.raises(ConfigurationError, match="does not verify certificates"):
            FineTuneClient(KEY, session=session)
