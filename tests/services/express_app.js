// Express, with ws for WebSockets.
const express = require("express");
const { WebSocketServer } = require("ws");

const app = express();
app.set("trust proxy", "loopback");
app.use((request, response, next) => {
  if (request.headers.origin === "https://app.example") {
    response.set("Access-Control-Allow-Origin", "https://app.example");
    response.set("Access-Control-Allow-Methods", "GET, POST");
    if (request.method === "OPTIONS") return response.sendStatus(204);
  }
  next();
});
const here = (request) => `${request.protocol}://${request.get("host")}`;

app.get("/redirect", (request, response) => response.redirect(`${here(request)}/landed/`));
app.get("/landed", (request, response) => response.json({ url: here(request) + request.url }));
app.get("/cookies", (request, response) => {
  const sent = (request.headers.cookie || "").split("; ").filter(Boolean);
  response.cookie("a", "1", { httpOnly: true }).cookie("b", "2");
  response.json(Object.fromEntries(sent.map((each) => each.split("="))));
});
app.post("/upload", express.raw({ type: () => true, limit: "16mb" }), (request, response) => {
  const text = request.body.toString("latin1");
  const name = /filename="([^"]*)"/.exec(text)[1];
  const start = text.indexOf("\r\n\r\n") + 4;
  response.json({ name, size: text.lastIndexOf("\r\n--") - start });
});
let happened = 0;
let told = () => {};
app.get("/events", (request, response) => {
  response.set("Content-Type", "text/event-stream");
  let number = 0;
  told = () => {
    for (; happened > 0 && number < 3; happened -= 1) response.write(`data: ${++number}\n\n`);
    if (number === 3) response.end();
  };
  told();
});
app.post("/happen", (request, response) => {
  happened += 1;
  told();
  response.end();
});
app.get("/who", (request, response) =>
  response.json({ client: request.ip, scheme: request.protocol, host: request.get("host") }));
app.get("/authorized", (request, response) =>
  response.json({ authorization: request.headers.authorization || null }));

const server = app.listen(0, "127.0.0.1", () =>
  console.log(`http://127.0.0.1:${server.address().port}`));
const sockets = new WebSocketServer({ server, path: "/socket" });
sockets.on("connection", (socket) => socket.on("message", (data) => socket.send(data.toString())));
