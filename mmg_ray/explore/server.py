"""The server of the page: of this machine alone, and of whoever has its token."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from aiohttp import web

from mmg_ray.errors import MMGError
from mmg_ray.explore.pages import Explorer, Filters

log = logging.getLogger(__name__)

HOST = "127.0.0.1"  # no other machine reaches it
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(explorer: Explorer, token: str) -> web.Application:
    """The page of a run. Every request needs the token, in its address or in the cookie that this sets."""
    app = web.Application(middlewares=[_guard(token), _explain])

    async def page(_: web.Request) -> web.Response:
        facts = json.dumps(explorer.facts()).replace("<", "\\u003c")
        text = _asset("page.html").replace("{{facts}}", facts)
        return web.Response(text=text, content_type="text/html")

    async def asset(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "report.css":  # of the report, too
            text = resources.files("mmg_ray.report").joinpath("page.css").read_text()
        else:
            text = _asset(name)
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return web.Response(text=text, content_type=kind)

    def answer(what: Callable[[web.Request], Any]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            # reading storage must not keep the others waiting
            return web.json_response(await asyncio.to_thread(what, request))

        return handle

    async def download(request: web.Request) -> web.Response:
        data = await asyncio.to_thread(explorer.csv, Filters.parse(request.query))
        head = {"Content-Disposition": 'attachment; filename="edges.csv"'}
        return web.Response(body=data, content_type="text/csv", headers=head)

    app.add_routes(
        [
            web.get("/", page),
            web.get(r"/{name:(?:page|report)\.css|page\.js}", asset),
            web.get("/state", answer(lambda _: explorer.state())),
            web.get("/variables", answer(lambda r: explorer.variables(r.query.get("text", "")))),
            web.get("/edges", answer(lambda r: explorer.edges(Filters.parse(r.query)))),
            web.get("/edges.csv", download),
            web.get("/modules", answer(lambda _: explorer.modules())),
            web.get(
                "/pair",
                answer(
                    lambda r: explorer.pair(r.query.get("source", ""), r.query.get("target", ""))
                ),
            ),
        ]
    )
    return app


async def serve(explorer: Explorer, port: int, started: Callable[[str], None]) -> None:
    """Serve until cancelled.

    Args:
        port: 0 for any that is free.
        started: called with the address to open.
    """
    token = secrets.token_urlsafe(24)
    runner = web.AppRunner(application(explorer, token), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        # with port 0 only the socket knows
        found = runner.addresses[0][1]
        started(f"http://{HOST}:{found}/?token={token}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _guard(token: str) -> Any:
    # cookies are of all ports of a host: another page on another run has its own
    cookie = f"mmg_ray_{hashlib.sha256(token.encode()).hexdigest()[:12]}"

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        # a page elsewhere may have its name lead here (DNS rebinding), but cannot choose the header
        named = request.host.rpartition(":")[0] or request.host
        given = request.query.get("token") or request.cookies.get(cookie, "")
        if named not in (HOST, "localhost") or not hmac.compare_digest(
            given.encode(), token.encode()
        ):
            return web.Response(
                status=403,
                text="This page needs the token in the address that `mmg-ray explore` printed.",
                headers=_HEADERS,
            )
        if request.path == "/" and "token" in request.query:
            # out of the address bar, and out of what is copied from it
            response: web.StreamResponse = web.Response(status=303, headers={"Location": "/"})
            response.set_cookie(cookie, token, httponly=True, samesite="Strict")
        else:
            response = await handler(request)
        response.headers.update(_HEADERS)
        return response

    return guard


@web.middleware
async def _explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as text that the page shows."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except MMGError as error:
        return web.json_response({"error": str(error)}, status=400)
    except Exception as error:  # the page shows it, and the log has where it was
        log.exception("%s failed", request.path)
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=500)


def _asset(name: str) -> str:
    return resources.files("mmg_ray.explore").joinpath(name).read_text()
