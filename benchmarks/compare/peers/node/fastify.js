// fastify with @fastify/http-proxy: one process, undici's persistent connections, no log.
import proxy from '@fastify/http-proxy';
import Fastify from 'fastify';

const [port, origin] = process.argv.slice(2);
const app = Fastify({ logger: false, bodyLimit: 10 * 1024 * 1024, keepAliveTimeout: 3_600_000 });
app.register(proxy, { upstream: origin, undici: { connections: 128, pipelining: 1, keepAliveTimeout: 3_600_000 } });
await app.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 });
