"""FastAPI, for uvicorn."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

HAPPENED = asyncio.Queue[None]()

app = FastAPI()
app.add_middleware(
    CORSMiddleware, allow_origins=["https://app.example"], allow_methods=["*"], allow_headers=["*"]
)


@app.get("/redirect")
def redirect(request: Request) -> RedirectResponse:
    """Send the client on, by a whole URL."""
    return RedirectResponse(request.url_for("landed"))


@app.get("/landed/")  # without its last slash, the framework redirects by itself
def landed(request: Request) -> dict[str, str]:
    """Tell where the client has come to."""
    return {"url": str(request.url)}


@app.get("/cookies")
def cookies(request: Request) -> Response:
    """Set two cookies; tell those that came."""
    response = JSONResponse(dict(request.cookies))
    response.set_cookie("a", "1", httponly=True)
    response.set_cookie("b", "2")
    return response


@app.post("/upload")
async def upload(file: UploadFile) -> dict[str, object]:
    """Tell what was uploaded."""
    return {"name": file.filename, "size": len(await file.read())}


@app.get("/events")
def events() -> StreamingResponse:
    """Send three events, each when something has happened."""

    async def stream() -> AsyncIterator[str]:
        for number in (1, 2, 3):
            await HAPPENED.get()
            yield f"data: {number}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.post("/happen")
async def happen() -> None:
    """Let something happen."""
    await HAPPENED.put(None)


@app.get("/who")
def who(request: Request) -> dict[str, object]:
    """Tell who asks, and by which name."""
    client = request.client.host if request.client else None
    return {"client": client, "scheme": request.url.scheme, "host": request.headers["host"]}


@app.get("/authorized")
def authorized(request: Request) -> dict[str, object]:
    """Tell how the client logs in."""
    return {"authorization": request.headers.get("authorization")}


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    """Give each message back."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        return
