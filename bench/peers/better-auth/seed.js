// Makes the tables, users with a key each, and the description of the request.
import { writeFileSync } from 'node:fs';
import { getMigrations } from 'better-auth/db/migration';
import { auth, options, pool, redis } from './auth.js';

const week = 7 * 24 * 60 * 60;
const { runMigrations } = await getMigrations(options);
await runMigrations();

const { internalAdapter } = await auth.$context;
const keys = [];
for (let number = 0; number < Number(process.env.TOKENS); number += 1) {
  const user = await internalAdapter.createUser({
    name: `user${number}`, email: `user${number}@users.example`, emailVerified: true,
  });
  keys.push((await auth.api.createApiKey({ body: { userId: user.id, expiresIn: week } })).key);
}
await pool.end();
await redis.quit();

writeFileSync(`${process.env.WORK}/tokens.txt`, `${keys.join('\n')}\n`);
writeFileSync(`${process.env.WORK}/request`, 'method GET\npath /verify\nheader x-api-key: @\nexpect {"user":"\n');
