// Orders, the same small Web API in JavaScript. It knows nothing of tokens: whoever gets through to it has been checked, and
// headers say who it is.

import { createServer } from "node:http";

const orders = new Map(); // by organisation: nobody sees another organisation's

function who(request) {
  const of = (name) => decodeURIComponent(request.headers[name] ?? "");
  return {
    organisation: of("x-auth-organisation"),
    unit: of("x-auth-unit"),
    user: of("x-auth-user"),
  };
}

const server = createServer(async (request, response) => {
  const caller = who(request);
  const theirs = orders.get(caller.organisation) ?? [];
  let status = 200;
  let answer = { by: "javascript", who: caller, orders: theirs };
  if (request.method === "POST") {
    let body = "";
    for await (const part of request) body += part;
    const order = { ...JSON.parse(body || "{}"), from: caller.user };
    orders.set(caller.organisation, [...theirs, order]);
    status = 201;
    answer = { by: "javascript", who: caller, order };
  }
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(answer) + "\n");
});

server.listen(Number(process.argv[2]), "127.0.0.1");
