-- Each connection of wrk issues a token by Web API key, then releases it, and so on. KEY is the key.
local basic
local token = nil

function init(args)
  basic = "Basic " .. args[1]
end

function request()
  if token then
    local body = '{"token":"' .. token .. '"}'
    token = nil
    return wrk.format("POST", "/authentication/token/release", { ["Content-Type"] = "application/json" }, body)
  end
  return wrk.format("POST", "/authentication/web_api_key/token", { ["Authorization"] = basic }, "")
end

function response(status, headers, body)
  if status == 200 then
    token = body:match('"token":"(%x+)"')
  end
end
