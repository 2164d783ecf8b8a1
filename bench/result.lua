
-- What bench/src/load.rs reads: requests, microseconds, wrong statuses, requests without an answer, latencies.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("result %d %.0f %d %d %.0f %.0f %.0f\n",
    summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
