-- For wrk: logins with a password, of random ones of COUNT users, whom `doorward-bench fill` has made. ... URL -- COUNT
local users

function init(args)
  users = tonumber(args[1])
  math.randomseed(os.time())
end

function request()
  local user = math.random(0, users - 1)
  local body = string.format(
    '{"organisation":"ACME%03d","username":"user%06d","password":"the same password for all of them"}', user % 100, user)
  return wrk.format("POST", "/authentication/token", { ["Content-Type"] = "application/json" }, body)
end
