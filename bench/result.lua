
-- Stands at the end of every script that bench/src/load.rs gives to wrk.

function base64(text)
  local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for place = 0, 3 do
      local sextet = math.floor(bits / 64 ^ (3 - place)) % 64
      out[#out + 1] = (place == 2 and not b or place == 3 and not c) and "=" or letters:sub(sextet + 1, sextet + 1)
    end
  end
  return table.concat(out)
end

-- What bench/src/load.rs reads: requests, microseconds, wrong statuses, requests without an answer, latencies.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("result %d %.0f %d %d %.0f %.0f %.0f\n",
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
