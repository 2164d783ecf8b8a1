// Makes the secrets, the tokens and the description of the request.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';

const { WORK, TOKENS, VARIANT } = process.env;
const secrets = {
  client: randomBytes(24).toString('hex'),
  cookies: randomBytes(24).toString('hex'),
  key: {
    ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256',
  },
};
writeFileSync(`${WORK}/secrets.json`, JSON.stringify(secrets), { mode: 0o600 });

const { provider } = await import('./provider.js');
const { redis } = await import('./adapter.js');
const client = await provider.Client.find('service');

async function makeToken(number) {
  if (VARIANT === 'client') return new provider.ClientCredentials({ client, scope: 'read' }).save();
  const accountId = `user${number}`;
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope('openid');
  const grantId = await grant.save();
  return new provider.AccessToken({
    accountId, client, grantId, gty: 'authorization_code', scope: 'openid',
  }).save();
}

const tokens = [];
for (let number = 0; number < Number(TOKENS); number += 1) tokens.push(await makeToken(number));
await redis.quit();

const basic = Buffer.from(`service:${secrets.client}`).toString('base64');
writeFileSync(`${WORK}/tokens.txt`, `${tokens.join('\n')}\n`);
writeFileSync(`${WORK}/request`, `method POST
path /token/introspection
header Authorization: Basic ${basic}
header Content-Type: application/x-www-form-urlencoded
body token=@&token_type_hint=access_token
expect "active":true
`);
