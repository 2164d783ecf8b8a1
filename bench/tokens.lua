-- For wrk: every request carries a random token of the first SESSIONS, or with PLACE `unknown` one that was never
-- issued. wrk ... -s tokens.lua URL -- SESSIONS PLACE

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  local last, place = tonumber(args[1]) - 1, args[2]
  local text
  if place == "query" then
    text = wrk.format("GET", wrk.path .. "?token=@")
  else
    text = wrk.format("GET", wrk.path, { Host = wrk.headers["Host"], Authorization = "Bearer @" })
  end
  local head, tail = text:match("^(.*)@(.*)$")
  head = head .. (place == "unknown" and "F" or "0") .. string.rep("0", 23)
  math.randomseed(os.time() * 64 + number)
  -- Made ready here, so that a request costs the generator little.
  local random, format = math.random, string.format
  function request()
    return head .. format("%08X", random(0, last)) .. tail
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("result %d %.0f %d %d %.0f %.0f\n",
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
