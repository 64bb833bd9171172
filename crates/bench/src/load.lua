-- The load of one workload for wrk. Arguments: folder with `paths`, Host header, verb, object size.
-- `paths` holds one presigned path a line; requests rotate over them.
local ffi = require("ffi")

local paths, count, turn = {}, 0, 0
local host, verb, size
local buffer, slack, saved

-- Longest head of a request: a path of 1,024 bytes, a signature, a host.
local HEAD_MAX = 4096

local function get()
   return "GET " .. paths[turn] .. " HTTP/1.1\r\nHost: " .. host .. "\r\n\r\n"
end

-- Bodies are slices of one random buffer, so that no two are alike and none compresses (a peer that
-- deduplicates or compresses gains nothing). The head is written in front of the slice, the whole
-- request copied out once, and what lay below the head put back.
local function put()
   local head = "PUT " .. paths[turn] .. " HTTP/1.1\r\nHost: " .. host ..
      "\r\nContent-Length: " .. size .. "\r\n\r\n"
   local from = HEAD_MAX + (turn * 4099) % slack
   local start = buffer + (from - #head)
   ffi.copy(saved, start, #head)
   ffi.copy(start, head, #head)
   local whole = ffi.string(start, #head + size)
   ffi.copy(start, saved, #head)
   return whole
end

function init(args)
   local folder = args[1]
   host, verb, size = args[2], args[3], tonumber(args[4])
   for line in io.lines(folder .. "/paths") do
      count = count + 1
      paths[count] = line
   end
   if verb == "PUT" then
      local file = assert(io.open(folder .. "/random", "rb"))
      local random = file:read("*a")
      file:close()
      assert(#random > HEAD_MAX + size, "the random file is too short")
      slack = #random - HEAD_MAX - size
      buffer = ffi.new("uint8_t[?]", #random)
      ffi.copy(buffer, random, #random)
      saved = ffi.new("uint8_t[?]", HEAD_MAX)
   end
   turn = 0
end

function request()
   turn = turn % count + 1
   if verb == "PUT" then return put() end
   return get()
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
