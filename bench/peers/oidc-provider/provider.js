// The provider as its documentation wants it in production: keys and an adapter of one's own, no development interactions.
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';
import { RedisAdapter } from './adapter.js';

const secrets = JSON.parse(readFileSync(`${process.env.WORK}/secrets.json`, 'utf8'));
const day = 24 * 60 * 60;

export const issuer = `http://127.0.0.1:${process.env.PORT}`;
export const provider = new Provider(issuer, {
  adapter: RedisAdapter,
  clients: [{
    client_id: 'service',
    client_secret: secrets.client,
    grant_types: ['client_credentials', 'authorization_code'],
    redirect_uris: ['https://service.example/callback'],
  }],
  cookies: { keys: [secrets.cookies] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: (_context, asking) => asking.clientId === 'service' },
    revocation: { enabled: true },
  },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  jwks: { keys: [secrets.key] },
  ttl: { AccessToken: day, ClientCredentials: day, Grant: day },
});
