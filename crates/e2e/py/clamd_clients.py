"""The two clients of clamd's protocol that PyPI has, against a scan service: HOST PORT SOCKET FOLDER NAME.

FOLDER has `eicar`, `packed` (with it inside) and `clean`; NAME is what is found.
"""

import io
import os
import sys

import clamd
import pyclamd

host, port, socket, folder, name = sys.argv[1:]
path = lambda file: os.path.join(folder, file)
read = lambda file: open(path(file), "rb").read()
FOUND = ("FOUND", name)
both = {path("eicar"): FOUND, path("packed"): FOUND}


def same(got, expected):
    assert got == expected, f"{got!r} is not {expected!r}"


tcp, local = pyclamd.ClamdNetworkSocket(host, int(port)), pyclamd.ClamdUnixSocket(socket)
for it in (tcp, local):
    same(it.ping(), True)
    assert it.version().startswith("ClamAV "), it.version()
    stats = it.stats()
    assert stats.startswith("POOLS: 1") and "THREADS: live " in stats and stats.strip().endswith("END"), stats
    same(it.scan_stream(read("eicar")), {"stream": FOUND})
    # Of what is a multiple of a chunk it sends more behind the end, and may find that the answer was there before and nobody listens any more.
    same(it.scan_stream(read("packed"), chunk_size=len(read("packed")) - 1), {"stream": FOUND})
    same(it.scan_stream(read("clean")), None)
    assert "UNAVAILABLE" in it.reload(), it.reload()
    it.shutdown()
    same(it.ping(), True)
same(local.contscan_file(folder), both)
same(local.multiscan_file(folder), both)
same(local.allmatchscan(path("eicar")), {path("eicar"): [FOUND]})
same(local.scan_file(path("eicar")), {path("eicar"): FOUND})
same(local.scan_file(path("clean")), None)
# Over TCP nobody names files, also none that are clean.
for refused in (tcp.contscan_file(folder), tcp.scan_file(path("clean"))):
    assert [said[0] for said in refused.values()] == ["ERROR"], refused

tcp, local = clamd.ClamdNetworkSocket(host, int(port)), clamd.ClamdUnixSocket(socket)
for it in (tcp, local):
    same(it.ping(), "PONG")
    assert it.version().startswith("ClamAV "), it.version()
    assert "POOLS: 1" in it.stats(), it.stats()
    same(it.instream(io.BytesIO(read("eicar"))), {"stream": FOUND})
    same(it.instream(io.BytesIO(read("clean"))), {"stream": ("OK", None)})
    same(it.instream(io.BytesIO(b"")), {"stream": ("OK", None)})
    it.shutdown()
    same(it.ping(), "PONG")
same(local.contscan(folder), both)
same(local.multiscan(folder), both)
same(local.scan(path("clean")), {path("clean"): ("OK", None)})
same([said[0] for said in tcp.contscan(path("clean")).values()], ["ERROR"])
