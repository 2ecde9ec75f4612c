"""Only the page with its token is let in."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
import requests

from sdclient.review.serving import review_application
from tests.support.review import build_output
from tests.support.review_page import Page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One page for all these tests, which change nothing."""
    folder = tmp_path_factory.mktemp("guarded")
    with (
        review_application(build_output(folder), masks=folder / "masks") as application,
        application.in_background() as url,
    ):
        page = Page(url)
        yield page
        page.session.close()


def bare(page: Page, path: str = "/", method: str = "GET", **headers: str) -> requests.Response:
    """A request as another program of this machine could send it."""
    return requests.request(
        method,
        f"{page.base}{path}",
        headers=headers,
        timeout=20,
        allow_redirects=False,
        json={} if method != "GET" else None,
    )


def cookie_of(page: Page) -> str:
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in page.session.cookies)


def test_the_token_is_long_and_new_each_time(page: Page) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", page.url)


def test_the_token_becomes_a_cookie_and_leaves_the_address(page: Page) -> None:
    reply = bare(page, f"/?token={page.token}&lang=zh")
    assert (reply.status_code, reply.headers["location"]) == (303, "/?lang=zh")
    cookie = reply.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert f"sdclient_review_{page.port}=" in cookie


@pytest.mark.parametrize(
    "path", ["/", "/draw", "/static/page.css", "/api/counts", "/api/picture?file=pad/1_1.png&what=candidate"]
)
@pytest.mark.parametrize("token", ["", "?token=", "?token=wrong", "?token=%F0%9F%92%A5"])
def test_without_the_token_nothing_is_sent(page: Page, path: str, token: str) -> None:
    reply = bare(page, path + (token.replace("?", "&") if "?" in path else token))
    assert reply.status_code == 403
    assert "sdclient review" in reply.text
    assert "set-cookie" not in reply.headers


def test_a_cookie_of_another_start_is_refused(page: Page) -> None:
    assert bare(page, "/api/counts", Cookie=f"sdclient_review_{page.port}={'x' * 43}").status_code == 403
    assert bare(page, "/api/counts", Cookie=cookie_of(page)).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_a_foreign_name_for_this_machine_is_refused(page: Page, host: str) -> None:
    reply = bare(page, f"/?token={page.token}", Host=host.format(port=page.port) or "x", Cookie=cookie_of(page))
    assert reply.status_code == 421
    assert "set-cookie" not in reply.headers


def test_the_name_localhost_is_accepted(page: Page) -> None:
    assert bare(page, "/api/counts", Host=f"localhost:{page.port}", Cookie=cookie_of(page)).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_of_this_machine_cannot_use_the_cookie(page: Page, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Cookie": cookie_of(page)}
    assert bare(page, "/api/counts", **headers).status_code == 403
    assert bare(page, "/api/counts", **{**headers, "Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/decide"), ("POST", "/api/undo"), ("POST", "/api/mask"), ("DELETE", "/api/mask")]
)
def test_what_changes_something_needs_the_pages_key(page: Page, method: str, path: str) -> None:
    cookie = {"Cookie": cookie_of(page)}
    assert bare(page, path, method, **cookie).status_code == 403
    assert bare(page, path, method, **cookie, **{"X-Review-Key": "wrong"}).status_code == 403
    own = {**cookie, "X-Review-Key": page.key}
    assert bare(page, path, method, **own, Origin="http://127.0.0.1:1").status_code == 403
    assert bare(page, path, method, **own, Origin="null").status_code == 403
    assert bare(page, path, method, **own, Origin=page.base).status_code == 422  # an empty body, but let in


def test_a_body_is_bounded(page: Page) -> None:
    huge = {"X-Review-Key": page.key, "Content-Length": str(10**9)}
    with socket.create_connection(("127.0.0.1", page.port or 0), timeout=20) as connection:
        head = {"Host": f"127.0.0.1:{page.port}", "Cookie": cookie_of(page), **huge}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        connection.sendall(f"POST /api/decide HTTP/1.1\r\n{lines}\r\n".encode())
        assert b" 413 " in connection.recv(4096)


def test_every_answer_forbids_what_is_not_the_servers_own(page: Page) -> None:
    for reply in (page.get("/"), page.get("/static/review.js"), page.get("/none"), bare(page), page.get("/api/counts")):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-frame-options"] == "DENY"
    assert page.get("/").headers["cache-control"] == "no-store"


def test_there_is_no_list_of_calls(page: Page) -> None:
    assert {page.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}


def test_it_listens_on_this_machine_alone(page: Page) -> None:
    assert page.base.startswith("http://127.0.0.1:")
    own = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1", "127.0.1.1", "::1"}
    for address in own:
        with pytest.raises(OSError):  # noqa: PT011 - refused or unreachable, by the system's own words
            socket.create_connection((str(address), page.port or 0), timeout=2).close()
