-- Asks Doorward about a request, for haproxy.cfg beside this file: docs/proxies/haproxy.md.
--
-- The action `lua.doorward` sets the variable txn.doorward to what Doorward says: `pass`, `invalid_token`, `forbidden` or
-- `unavailable`, or to `malformed` for an address that is ambiguous. It stays unset if something breaks here, so the
-- configuration must let nothing through but `pass`. It removes the token from the query, and sets the identity headers,
-- which the configuration has removed before; txn.user is for the log. The variable txn.demands may say what the route demands.

-- Where Doorward answers: the address of its API listener, by number, not by name.
local DOORWARD = "http://127.0.0.1:8080"
-- Of one attempt; HAProxy makes four.
local TIMEOUT_MS = 500

local IDENTITY = {
    "x-auth-organisation", "x-auth-organisation-id", "x-auth-unit", "x-auth-unit-id",
    "x-auth-user", "x-auth-user-id", "x-auth-method", "x-auth-expires",
}

-- A parameter's name as Doorward reads it.
local function decoded(name)
    return (name:gsub("+", " "):gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- A query without the parameter `token`.
local function without_token(query)
    local kept = {}
    for part in (query .. "&"):gmatch("(.-)&") do
        if decoded(part:match("^[^=]*")) ~= "token" then kept[#kept + 1] = part end
    end
    return table.concat(kept, "&")
end

-- Whether two programs may read a path as two things: empty and dot segments, encoded slashes, backslashes, zero bytes.
local function is_ambiguous(path)
    local lower = path:lower()
    if lower:find("//", 1, true) or lower:find("\\", 1, true) or lower:find("%%2f") or lower:find("%%5c")
        or lower:find("%%00") then
        return true
    end
    for segment in lower:gmatch("[^/]+") do
        local name = segment:match("^[^;]*"):gsub("%%2e", ".")
        if name == "." or name == ".." then return true end
    end
    return false
end

-- The values of a header of the request, oldest first.
local function values(headers, name)
    local list = {}
    if headers[name] then
        for index = 0, #headers[name] do list[#list + 1] = headers[name][index] end
    end
    return list
end

local function check(txn)
    local path, query = txn.sf:path(), txn.sf:query()
    if is_ambiguous(path) then return "malformed" end

    local headers = txn.http:req_get_headers()
    local question = {
        ["x-forwarded-for"] = { txn.sf:src() },
        ["x-original-uri"] = { path .. (query ~= "" and "?" .. query or "") },
    }
    -- All of them: a request with two is refused there.
    local authorization = values(headers, "authorization")
    if #authorization > 0 then question["authorization"] = authorization end

    local demands = txn:get_var("txn.demands")
    local address = DOORWARD .. "/verify" .. (demands and "?" .. demands or "")
    local answer = core.httpclient():get({ url = address, headers = question, timeout = TIMEOUT_MS })
    if not answer then return "unavailable" end
    if answer.status == 401 then return "invalid_token" end
    if answer.status == 403 then return "forbidden" end
    if answer.status ~= 200 then return "unavailable" end
    for _, name in ipairs(IDENTITY) do
        local value = answer.headers[name] and answer.headers[name][0]
        -- Whoever answers without them is not Doorward.
        if not value then return "unavailable" end
        txn.http:req_set_header(name, value)
    end

    txn:set_var("txn.user", answer.headers["x-auth-user"][0])
    local rest = without_token(query)
    txn.http:req_set_uri(path .. (rest ~= "" and "?" .. rest or ""))
    return "pass"
end

core.register_action("doorward", { "http-req" }, function(txn)
    txn:set_var("txn.doorward", check(txn))
end, 0)
