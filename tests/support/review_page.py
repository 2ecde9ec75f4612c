"""A program that has the address of a running review page."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests


class Page:
    """A program that has the address of a running page."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self.base, self.port = f"{parts.scheme}://{parts.netloc}", parts.port
        self.token = url.partition("token=")[2]
        self.session = requests.Session()
        self.session.trust_env = False
        self.html = self.session.get(url, timeout=20).text
        self.key = self.html.partition('name="review-key" content="')[2].partition('"')[0]

    def get(self, path: str, **query: object) -> requests.Response:
        return self.session.get(f"{self.base}{path}", params=query, timeout=20)  # type: ignore[arg-type]

    def post(self, path: str, body: object, **query: object) -> requests.Response:
        return self.session.post(
            f"{self.base}{path}",
            json=body,
            params=query,
            headers={"X-Review-Key": self.key},
            timeout=20,  # type: ignore[arg-type]
        )

    def rows(self, *files: str) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = self.post("/api/rows", {"files": files}).json()
        return rows

    def decide(self, verdict: str, *files: str, tab: str = "a" * 8) -> dict[str, object]:
        images = [{name: row[name] for name in ("file", "sha256", "revision")} for row in self.rows(*files)]
        reply = self.post("/api/decide", {"tab": tab, "verdict": verdict, "images": images})
        assert reply.status_code == 200, reply.text
        done: dict[str, object] = reply.json()
        return done
