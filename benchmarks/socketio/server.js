// One Socket.IO worker: node server.js PORT REDIS. What is posted to /events goes to all in the room, on every worker.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, address] = process.argv.slice(2);
const publishing = createClient({ url: address });
const subscribing = publishing.duplicate();
await Promise.all([publishing.connect(), subscribing.connect()]);

const http = createServer((request, response) => {
  if (request.url !== "/events" || request.method !== "POST") {
    response.writeHead(request.url === "/health" ? 200 : 404).end();
    return;
  }
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const { topic, type, data } = JSON.parse(Buffer.concat(pieces));
    io.to(topic).emit(type, data);
    response.writeHead(202, { "content-type": "application/json" }).end("{}");
  });
});
const io = new Server(http, {
  adapter: createAdapter(publishing, subscribing),
  transports: ["websocket"],
  perMessageDeflate: false,
});
io.on("connection", (socket) => socket.join("bench"));
http.keepAliveTimeout = 60_000;
http.listen(Number(port), "127.0.0.1", 4096);
