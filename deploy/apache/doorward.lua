-- Asks Doorward about a request, for doorward.conf beside this file: docs/proxies/apache.md.
--
-- httpd calls `check` before it does anything with a request, and serves the request only if it returns apache2.OK.

local http = require "socket.http"
local ltn12 = require "ltn12"

-- Where Doorward answers.
local DOORWARD = "http://127.0.0.1:8080"
http.TIMEOUT = 2

local IDENTITY = {
    "X-Auth-Organisation", "X-Auth-Organisation-Id", "X-Auth-Unit", "X-Auth-Unit-Id",
    "X-Auth-User", "X-Auth-User-Id", "X-Auth-Method", "X-Auth-Expires",
}

-- Headers that say who the caller is, what the request was before, where it comes from, or how to go on with the connection:
-- clients do not get to.
local OURS = {
    "^x[^a-z0-9]auth[^a-z0-9]", "^x[^a-z0-9]forwarded[^a-z0-9]", "^x[^a-z0-9]original[^a-z0-9]",
    "^x[^a-z0-9]rewrite[^a-z0-9]", "^x[^a-z0-9]real[^a-z0-9]", "^forwarded$", "^http2%-settings$", "^te$", "^trailer$", "^keep%-alive$",
    "^proxy%-connection$",
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

local function refuse(r, status)
    r.subprocess_env["doorward_refused"] = "yes"
    return status
end

local function ask(r)
    local target = r.unparsed_uri
    local path = target:match("^%a[%w+.-]*://[^/?#]*([^?#]*)") or target:match("^[^?#]*")
    local headers = r:headers_in_table()
    for name in pairs(headers) do
        for _, pattern in ipairs(OURS) do
            if name:lower():find(pattern) then r.headers_in[name] = nil end
        end
    end
    -- Otherwise a client could name ours in Connection, and httpd would remove them.
    -- WebSocket, and no other protocol: behind an upgrade to HTTP/2 further requests would pass unseen.
    local is_websocket = (r.headers_in["Upgrade"] or ""):lower() == "websocket"
    r.headers_in["Upgrade"] = is_websocket and "websocket" or nil
    r.headers_in["Connection"] = is_websocket and "Upgrade" or nil

    if is_ambiguous(path) then return refuse(r, 400) end

    local demands = r.subprocess_env["doorward_demands"]
    local answer_headers
    local _, status
    _, status, answer_headers = http.request {
        url = DOORWARD .. "/verify" .. (demands and "?" .. demands or ""),
        method = "GET",
        headers = {
            ["Authorization"] = r.headers_in["Authorization"],
            ["X-Original-URI"] = target,
            ["X-Forwarded-For"] = r.useragent_ip,
        },
        sink = ltn12.sink.null(),
        redirect = false,
    }
    if status == 401 or status == 403 then return refuse(r, status) end
    if status ~= 200 or not answer_headers then return refuse(r, 503) end
    for _, name in ipairs(IDENTITY) do
        local value = answer_headers[name:lower()]
        -- Whoever answers without them is not Doorward.
        if not value then return refuse(r, 503) end
        r.headers_in[name] = value
    end

    -- The token stays here. Remove the first line if the API itself must see it.
    r.headers_in["Authorization"] = nil
    if r.args then r.args = without_token(r.args) end
    return apache2.OK
end

function check(r)
    local worked, status = pcall(ask, r)
    return worked and status or refuse(r, 503)
end
