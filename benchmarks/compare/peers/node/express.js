// express with axios, and with a cache-aside cache in Redis for paths outside /miss/.
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

async function fetchFromOrigin(request) {
  const response = await client.get(request.originalUrl, { headers: { 'x-forwarded-for': request.ip } });
  return { status: response.status, type: response.headers['content-type'], body: response.data };
}

app.get('/miss/*rest', async (request, response) => {
  const { status, type, body } = await fetchFromOrigin(request);
  response.status(status).set('content-type', type).send(body);
});

app.get('/*rest', async (request, response) => {
  const key = `cache:${request.originalUrl}`;
  const cached = redis ? await redis.get(key) : null;
  if (cached !== null) {
    response.set('content-type', 'application/json').set('x-cache', 'HIT').send(cached);
    return;
  }
  const { status, type, body } = await fetchFromOrigin(request);
  if (redis && status === 200) await redis.set(key, body, { EX: 3600 });
  response.status(status).set('content-type', type).send(body);
});

const server = http.createServer({ keepAliveTimeout: 3_600_000 }, app);
server.listen(Number(port), '127.0.0.1', 4096);
