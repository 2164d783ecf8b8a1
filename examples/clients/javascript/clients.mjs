// Logs in, uses the token, verifies it as a service does, and releases it. Needs Node.js 18 and nothing else.

const { DOORWARD_URL, DOORWARD_KEY, DOORWARD_ORGANISATION, DOORWARD_USERNAME, DOORWARD_PASSWORD } = process.env;

/** Returns the status and the JSON of an answer. What is no answer of Doorward's throws: an outage says nothing about
 * a token, and a redirect would take the credential elsewhere. */
async function ask(path, options = {}) {
  const response = await fetch(DOORWARD_URL + path, {
    redirect: "error",
    signal: AbortSignal.timeout(5000),
    ...options,
  });
  if (response.status >= 500 || response.status === 429) {
    throw new Error(`Doorward is unavailable: status ${response.status}`);
  }
  return { status: response.status, answer: await response.json() };
}

function post(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

async function logIn(organisation, username, password) {
  const { answer } = await post("/authentication/token", { organisation, username, password });
  if (answer.status.code !== "OK") throw new Error(`${answer.status.code}: ${answer.status.message}`);
  return answer.data.token;
}

/** Whom the token speaks for; null if it is not in force. Ask for each request: a cache lets released tokens live. */
async function verify(token, key) {
  const { status, answer } = await ask("/oauth2/introspect", {
    method: "POST",
    headers: { Authorization: "Basic " + Buffer.from(key + ":").toString("base64") },
    body: new URLSearchParams({ token }),
  });
  if (status !== 200) throw new Error(`${answer.error}: ${answer.error_description}`);
  return answer.active === true ? answer : null;
}

async function release(token) {
  const { status } = await post("/authentication/token/release", { token });
  if (status !== 200) throw new Error("the token may still be in force");
}

const token = await logIn(DOORWARD_ORGANISATION, DOORWARD_USERNAME, DOORWARD_PASSWORD);
try {
  // Any guarded API takes the token in this header; Doorward's own tells whose it is.
  const { status } = await ask("/authentication/token", { headers: { Authorization: "Bearer " + token } });
  console.log("used:", status);
  const identity = await verify(token, DOORWARD_KEY);
  if (identity) console.log("active:", identity.username, "of", identity.organisation);
} finally {
  await release(token);
}
if ((await verify(token, DOORWARD_KEY)) === null) console.log("released");
