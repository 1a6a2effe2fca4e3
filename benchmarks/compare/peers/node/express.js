// express with axios, and express with Redis in front of it (cache-aside): what is below /miss/ is never cached.
import http from 'node:http';
import axios from 'axios';
import express from 'express';
import { createClient } from 'redis';

const [port, origin, redisPort] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 128 });
const client = axios.create({
  baseURL: origin,
  httpAgent: agent,
  timeout: 10_000,
  responseType: 'text',
  transformResponse: (body) => body,
  validateStatus: () => true,
});
const redis = redisPort ? await createClient({ socket: { host: '127.0.0.1', port: Number(redisPort) } }).connect() : null;
const app = express();
app.disable('x-powered-by');

async function fetched(request) {
  const answer = await client.get(request.originalUrl, { headers: { 'x-forwarded-for': request.ip } });
  return { status: answer.status, type: answer.headers['content-type'], body: answer.data };
}

app.get('/miss/*rest', async (request, response) => {
  const answer = await fetched(request);
  response.status(answer.status).set('content-type', answer.type).send(answer.body);
});

app.get('/*rest', async (request, response) => {
  const key = `cache:${request.originalUrl}`;
  const kept = redis ? await redis.get(key) : null;
  if (kept !== null) {
    response.set('content-type', 'application/json').set('x-cache', 'HIT').send(kept);
    return;
  }
  const answer = await fetched(request);
  if (redis && answer.status === 200) await redis.set(key, answer.body, { EX: 3600 });
  response.status(answer.status).set('content-type', answer.type).send(answer.body);
});

const server = http.createServer({ keepAliveTimeout: 3_600_000 }, app);
server.listen(Number(port), '127.0.0.1', 4096);
