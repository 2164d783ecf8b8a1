// Keeps the provider's models in Redis: what tokens and their revocation need. Logins would need `findByUid`,
// `findByUserCode` and `consume` as well.
import { Redis } from 'ioredis';

export const redis = new Redis(process.env.REDIS);

const ofGrant = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken']);
const grantKey = (id) => `oidc:grant:${id}`;

export class RedisAdapter {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `oidc:${this.model}:${id}`;
  }

  async upsert(id, payload, seconds) {
    const key = this.key(id);
    const writes = redis.multi().set(key, JSON.stringify(payload), 'EX', seconds);
    if (ofGrant.has(this.model) && payload.grantId) {
      writes.sadd(grantKey(payload.grantId), key).expire(grantKey(payload.grantId), seconds);
    }
    await writes.exec();
  }

  async find(id) {
    const text = await redis.get(this.key(id));
    return text ? JSON.parse(text) : undefined;
  }

  async destroy(id) {
    await redis.del(this.key(id));
  }

  async revokeByGrantId(id) {
    const keys = await redis.smembers(grantKey(id));
    await redis.del(grantKey(id), ...keys);
  }
}
