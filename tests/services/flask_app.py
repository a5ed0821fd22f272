"""Flask, for gunicorn."""

from collections.abc import Iterator
from queue import SimpleQueue

from flask import Flask, Response, jsonify, redirect, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as AnyResponse

HAPPENED = SimpleQueue[None]()

app = Flask(__name__)
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign] # as its documentation has it


@app.get("/redirect")
def send_on() -> AnyResponse:
    """Send the client on, by a whole URL."""
    return redirect(url_for("landed", _external=True))


@app.get("/landed/")
def landed() -> Response:
    """Tell where the client has come to."""
    return jsonify(url=request.url)


@app.get("/cookies")
def cookies() -> Response:
    """Set two cookies; tell those that came."""
    response = jsonify(dict(request.cookies))
    response.set_cookie("a", "1", httponly=True)
    response.set_cookie("b", "2")
    return response


@app.post("/upload")
def upload() -> Response:
    """Tell what was uploaded."""
    file = request.files["file"]
    return jsonify(name=file.filename, size=len(file.read()))


@app.get("/events")
def events() -> Response:
    """Send three events, each when something has happened."""

    def stream() -> Iterator[str]:
        for number in (1, 2, 3):
            HAPPENED.get()
            yield f"data: {number}\n\n"

    return Response(stream(), mimetype="text/event-stream")


@app.post("/happen")
def happen() -> Response:
    """Let something happen."""
    HAPPENED.put(None)
    return Response()


@app.get("/who")
def who() -> Response:
    """Tell who asks, and by which name."""
    return jsonify(client=request.remote_addr, scheme=request.scheme, host=request.host)


@app.get("/authorized")
def authorized() -> Response:
    """Tell how the client logs in."""
    return jsonify(authorization=request.headers.get("authorization"))


@app.after_request
def let_read(response: Response) -> Response:
    """Let a page of one origin read the answers."""
    if request.headers.get("Origin") == "https://app.example":
        response.headers["Access-Control-Allow-Origin"] = "https://app.example"
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
    return response
