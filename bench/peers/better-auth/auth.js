// What the documentation of the API Key plugin calls best for high performance: keys in Redis, users in PostgreSQL. No key
// is limited in its uses, for the load comes from one machine.
import { apiKey } from '@better-auth/api-key';
import { betterAuth } from 'better-auth';
import { Redis } from 'ioredis';
import pg from 'pg';

export const pool = new pg.Pool({ host: process.env.DATABASE_HOST, user: 'postgres', database: 'postgres' });
export const redis = new Redis(process.env.REDIS);

export const options = {
  database: pool,
  secondaryStorage: {
    get: (key) => redis.get(key),
    set: (key, value, seconds) => (seconds ? redis.set(key, value, 'EX', seconds) : redis.set(key, value)),
    delete: (key) => redis.del(key),
  },
  plugins: [apiKey({
    rateLimit: { enabled: false },
    storage: process.env.VARIANT === 'redis' ? 'secondary-storage' : 'database',
  })],
};
export const auth = betterAuth(options);
