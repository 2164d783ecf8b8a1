// One process a core, as Node's cluster module does it.
import cluster from 'node:cluster';

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.env.WORKERS); i += 1) cluster.fork();
  // Half a cluster would be measured as a whole one.
  cluster.on('exit', () => process.exit(1));
  process.on('SIGTERM', () => process.exit(0));
} else {
  const { provider } = await import('./provider.js');
  provider.listen(Number(process.env.PORT), '127.0.0.1');
}
