// One Socket.IO worker: node server.js PORT REDIS_URL. A POST to /events is broadcast to the room of its topic, on all workers.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [port, redisUrl] = process.argv.slice(2);
const publisher = createClient({ url: redisUrl });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer((request, response) => {
  if (request.url !== "/events" || request.method !== "POST") {
    response.writeHead(request.url === "/health" ? 200 : 404).end();
    return;
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { topic, type, data } = JSON.parse(Buffer.concat(chunks));
    io.to(topic).emit(type, data);
    response.writeHead(202, { "content-type": "application/json" }).end("{}");
  });
});
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ["websocket"],
  perMessageDeflate: false,
});
io.on("connection", (socket) => socket.join("bench"));
http.keepAliveTimeout = 60_000;
http.listen(Number(port), "127.0.0.1", 4096);
