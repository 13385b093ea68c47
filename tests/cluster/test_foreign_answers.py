"""A redirect or a web page in place of an API server's answer is reported with the address that it names."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.support.api_server import gateway_to, write_kubeconfig
from tests.support.clusters import open_gateway
from yarl import URL

from paperclip_claude_k8s.cluster import foreign_answers
from paperclip_claude_k8s.cluster.foreign_answers import is_page, shown_address
from paperclip_claude_k8s.cluster.gateway import Gateway
from paperclip_claude_k8s.cluster.port import NOT_KUBERNETES, ClusterError, LogRequest

LOGIN_PAGE = """<!DOCTYPE html><html><head><title>Sign in to ACME</title></head><body>
<form method="post" action="https://user:canary@login.acme.example/oauth2/start?rd=canary#canary">
</form></body></html>"""


async def error_of(gateway: Gateway) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        await gateway.list_jobs("ns", {})
    error = caught.value
    assert (error.retryable, error.may_succeed_later, error.foreign) == (False, False, True)
    assert "canary" not in str(error)
    return error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:canary@login.example/start?token=canary#canary", "https://login.example/start"),
        ("/login?next=canary", "/login"),
        ("//other.example:8443/x", "http://other.example:8443/x"),
        ("https://[fd00::1]:8443/x?canary", "https://[fd00::1]:8443/x"),
        ("javascript:canary", "an address that is not http or https"),
    ],
)
async def test_redirect_is_named_with_its_address_and_not_followed(
    status: int, location: str, shown: str, tmp_path: Path
) -> None:
    requests: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.Response(status=status, headers={"Location": location})

    async with gateway_to(elsewhere, tmp_path) as gateway:
        error = await error_of(gateway)
    assert len(requests) == 1
    assert error.reason == NOT_KUBERNETES
    assert f"answered with a redirect (HTTP {status}) to " in error.message
    assert shown in error.message
    assert "check `server` of the kubeconfig" in error.message


async def test_redirect_to_an_address_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://h/\xe4\r\nContent-Length: 0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with open_gateway(write_kubeconfig(tmp_path, url, user={"token": "canary-token"})) as gateway:
            assert "redirect (HTTP 302) to http://h/" in (await error_of(gateway)).message


@pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404, 405, 409, 410, 422])
async def test_login_page_is_named_with_the_address_it_points_to(status: int, tmp_path: Path) -> None:
    async def login_proxy(_: web.Request) -> web.Response:
        return web.Response(status=status, text=LOGIN_PAGE, content_type="text/html")

    async with gateway_to(login_proxy, tmp_path) as gateway:
        error = await error_of(gateway)
    assert error.status is None
    assert "web page titled 'Sign in to ACME'" in error.message
    assert "points to https://login.acme.example/oauth2/start " in error.message


async def test_page_sent_as_plain_text_is_recognised(tmp_path: Path) -> None:
    async def portal(_: web.Request) -> web.Response:
        return web.Response(text=LOGIN_PAGE)

    async with gateway_to(portal, tmp_path) as gateway:
        assert "Sign in to ACME" in (await error_of(gateway)).message


async def test_web_page_with_status_404_does_not_mean_that_the_job_is_missing(tmp_path: Path) -> None:
    async def ingress(_: web.Request) -> web.Response:
        return web.Response(status=404, text="<html><title>404</title></html>", content_type="text/html")

    async with gateway_to(ingress, tmp_path) as gateway:
        with pytest.raises(ClusterError, match="web page"):
            await gateway.read_job("ns", "job")


async def test_page_in_place_of_a_log_or_watch_is_an_error(tmp_path: Path) -> None:
    async def portal(_: web.Request) -> web.Response:
        return web.Response(text=LOGIN_PAGE, content_type="text/html")

    async with gateway_to(portal, tmp_path) as gateway:
        with pytest.raises(ClusterError, match="Sign in to ACME"):
            async with gateway.log(LogRequest("ns", "pod", "claude")):
                pass
        with pytest.raises(ClusterError, match="Sign in to ACME"):
            async for _ in gateway.watch_jobs("ns", {}, "1"):
                pass


async def test_page_in_answer_to_a_secret_is_not_quoted(tmp_path: Path) -> None:
    async def echo(request: web.Request) -> web.Response:
        page = f"<html><title>{await request.text()}</title></html>"
        return web.Response(status=403, text=page, content_type="text/html")

    secret: dict[str, Any] = {"metadata": {"name": "s"}, "stringData": {"a": "canary"}}
    async with gateway_to(echo, tmp_path) as gateway:
        with pytest.raises(ClusterError, match="answered with a web page") as caught:
            await gateway.create_secret("ns", secret)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_page_with_a_temporary_status_is_retried(status: int, tmp_path: Path) -> None:
    async def balancer(_: web.Request) -> web.Response:
        headers = {"Retry-After": "3"}
        return web.Response(status=status, text="<html>Busy", content_type="text/html", headers=headers)

    async with gateway_to(balancer, tmp_path) as gateway:
        with pytest.raises(ClusterError, match="Busy") as caught:
            await gateway.list_jobs("ns", {})
    assert (caught.value.status, caught.value.retryable, caught.value.retry_after) == (status, True, 3.0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"  <!doctype HTML><p>", True),
        (b"<!-- a proxy -->\n<html>", True),
        (b"<HEAD>", True),
        (b'{"kind": "Status"}', False),
        (b"404 page not found", False),
        (b"<htmlx>", False),
        (b"", False),
    ],
)
def test_page_is_recognised_by_its_beginning(body: bytes, expected: bool) -> None:  # noqa: FBT001
    assert is_page("text/plain", body) is expected
    assert is_page("text/html", body)  # this content type is enough


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (
            '<meta http-equiv="refresh" content="0; url=https://login.example/a?canary">',
            "https://login.example/a",
        ),
        ("<meta http-equiv=refresh content='0;URL=/b'>", "https://api.example/b"),
        ("<script>window.location.href = '/c?x=canary'</script>", "https://api.example/c"),
        ("<form action='http://[bad'>", "an address that is not valid"),
        ('<form action="http://h\x1b[31m/">', "h"),
    ],
)
def test_address_in_a_page_is_found(text: str, target: str) -> None:
    page = foreign_answers.web_page_error(
        "GET /x", URL("https://api.example/x"), 200, text.encode(), confidential=False
    )
    assert "that points to " in page.message
    assert target in page.message
    assert "canary" not in page.message
    assert "\x1b" not in page.message


@pytest.mark.parametrize(
    "piece", ["<form ", "<meta ", "<title ", "<!--", "location = ", "<form action", "<meta url"]
)
def test_hostile_page_is_read_quickly(piece: str) -> None:
    body = (piece * 400_000)[: 1024 * 1024].encode()
    began = time.process_time()
    is_page("text/plain", body)
    foreign_answers.web_page_error("GET /x", URL("https://api.example/x"), 200, body, confidential=False)
    assert time.process_time() - began < 0.2  # seconds, for 1 MiB


@pytest.mark.parametrize(
    "target", ["", "\x00", "http://h:99999/", "x" * 100_000, "mailto:canary@h", "http://"]
)
def test_odd_address_is_shown_harmlessly(target: str) -> None:
    shown = shown_address(URL("https://user:canary@api.example/a?canary"), target)
    assert "canary" not in shown
    assert len(shown) <= 200
