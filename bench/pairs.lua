-- For wrk: tokens are issued by Web API key and released, by turns. ... URL -- BASIC for the credentials of one key, or
-- ... URL -- users COUNT for the keys of COUNT users, whom `doorward-bench fill` has made, at random.
local basics, tokens = {}, {}

function init(args)
  if args[1] ~= "users" then
    basics[1] = "Basic " .. args[1]
    return
  end
  math.randomseed(os.time())
  for i = 1, 2000 do
    basics[i] = "Basic " .. base64(string.format("E%031X:", math.random(0, tonumber(args[2]) - 1)))
  end
end

function request()
  local token = table.remove(tokens)
  if token then
    local body = '{"token":"' .. token .. '"}'
    return wrk.format("POST", "/authentication/token/release", { ["Content-Type"] = "application/json" }, body)
  end
  local basic = basics[math.random(#basics)]
  return wrk.format("POST", "/authentication/web_api_key/token", { ["Authorization"] = basic }, "")
end

function response(status, headers, body)
  if status == 200 then
    tokens[#tokens + 1] = body:match('"token":"(%x+)"')
  end
end
