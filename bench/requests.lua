-- For wrk: requests about random ones of the first SESSIONS tokens. ... URL -- KIND SESSIONS [KEY]
--   verify      GET, the token in Authorization        query    the token in the query
--   peek        as verify, and no use of the token     unknown  as verify, with tokens that were never issued
--   introspect  POST of a form by KEY                  batch    POST of 1000 tokens by KEY

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local random, format = math.random, string.format

function init(args)
  local kind, last, key = args[1], tonumber(args[2]) - 1, args[3]
  local headers, method, path, body = { Host = wrk.headers["Host"] }, "GET", wrk.path, nil
  math.randomseed(os.time() * 64 + number)
  if key then headers["Authorization"] = "Basic " .. base64(key .. ":") end
  if kind == "batch" then
    -- Made ready here: to make them costs the generator more than to ask.
    headers["Content-Type"] = "application/json"
    local bodies, at = {}, 0
    for i = 1, 200 do
      local tokens = {}
      for j = 1, 1000 do tokens[j] = format('"%032X"', random(0, last)) end
      bodies[i] = wrk.format("POST", path, headers, '{"tokens":[' .. table.concat(tokens, ",") .. "]}")
    end
    function request()
      at = at % #bodies + 1
      return bodies[at]
    end
    return
  end
  if kind == "introspect" then
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    method, body = "POST", "token=" .. string.rep("@", 32)
  elseif kind == "query" then
    path = path .. "?token=" .. string.rep("@", 32)
  else
    headers["Authorization"] = "Bearer " .. string.rep("@", 32)
    if kind == "peek" then headers["X-Auth-Touch"] = "false" end
  end
  local head, tail = wrk.format(method, path, headers, body):match("^(.-)@+(.*)$")
  head = head .. (kind == "unknown" and "F" or "0") .. string.rep("0", 23)
  function request()
    return head .. format("%08X", random(0, last)) .. tail
  end
end
