-- For wrk: requests with random tokens to a peer that `run` has started. wrk ... -s tokens.lua URL -- REQUEST TOKENS
-- REQUEST has lines `method`, `path`, `header` and `body`, with @ in the token's place, and `expect`, which every answer's
-- body must have in it: an answer without, or with another status than 200, counts as an error.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  threads[#threads + 1] = thread
end

wrong = 0

function init(args)
  local method, path, body, expect, headers = "GET", "/", nil, "", { Host = wrk.headers["Host"] }
  for line in io.lines(args[1]) do
    local name, value = line:match("^(%w+) (.*)$")
    if name == "method" then method = value
    elseif name == "path" then path = value
    elseif name == "body" then body = value
    elseif name == "expect" then expect = value
    elseif name == "header" then
      local header, content = value:match("^([^:]+): *(.*)$")
      headers[header] = content
    end
  end
  local tokens = {}
  for token in io.lines(args[2]) do tokens[#tokens + 1] = token end
  -- All tokens have the same length, or Content-Length would be wrong.
  local length = #tokens[1]
  for _, token in ipairs(tokens) do assert(#token == length, "tokens of different lengths") end
  local function marked(text) return text and (text:gsub("@", string.rep("@", length))) end
  for header, content in pairs(headers) do headers[header] = marked(content) end
  local text = wrk.format(method, marked(path), headers, marked(body))
  local first, last = text:find(string.rep("@", length), 1, true)
  local head, tail = text:sub(1, first - 1), text:sub(last + 1)
  math.randomseed(os.time() * 64 + number)
  local random, count = math.random, #tokens
  function request()
    return head .. tokens[random(count)] .. tail
  end
  function response(status, _, content)
    if status ~= 200 or not content:find(expect, 1, true) then wrong = wrong + 1 end
  end
end

function done(summary, latency, requests)
  local errors, wrong = summary.errors, 0
  for _, thread in ipairs(threads) do wrong = wrong + thread:get("wrong") end
  io.write(string.format("result %d %.0f %d %d %.0f %.0f\n",
    summary.requests, summary.duration, wrong,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
