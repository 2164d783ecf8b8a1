// One process a core, as Node's cluster module does it.
import cluster from 'node:cluster';
import http from 'node:http';

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WORKERS); i += 1) cluster.fork();
  // Half a cluster would be measured as a whole one.
  cluster.on('exit', () => process.exit(1));
  process.on('SIGTERM', () => process.exit(0));
} else {
  const { auth } = await import('./auth.js');
  http.createServer(async (request, response) => {
    let result;
    try {
      result = await auth.api.verifyApiKey({ body: { key: request.headers['x-api-key'] } });
    } catch (error) {
      console.error(error);
      response.writeHead(500).end();
      return;
    }
    const body = JSON.stringify(result.valid ? { user: result.key.referenceId } : { error: result.error.code });
    response.writeHead(result.valid ? 200 : 401, { 'content-type': 'application/json' }).end(body);
  }).listen(Number(process.env.PORT), '127.0.0.1');
}
