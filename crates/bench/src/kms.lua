-- One signed request of the KMS API, again and again. Arguments: the file that holds it, head and body.
local whole

function init(args)
   local file = assert(io.open(args[1], "rb"))
   whole = file:read("*a")
   file:close()
end

function request()
   return whole
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"duration_us":%d,"requests":%d,"bytes":%d,"refused":%d,"broken":%d,' ..
      '"p50_us":%d,"p99_us":%d,"max_us":%d}\n',
      summary.duration, summary.requests, summary.bytes, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99), latency.max))
end
