"""What kube-apiserver does with a KMS v2 plugin. Arguments: the socket, what to do, and a file of what was sealed.

The stubs are made here from the service's definition, so that the server's own idea of it is not asked.
"""

import importlib
import json
import os
import sys
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_tools import protoc

PROTO = """
syntax = "proto3";
package v2;
service KeyManagementService {
  rpc Status(StatusRequest) returns (StatusResponse) {}
  rpc Decrypt(DecryptRequest) returns (DecryptResponse) {}
  rpc Encrypt(EncryptRequest) returns (EncryptResponse) {}
  rpc Forget(StatusRequest) returns (StatusResponse) {}
}
message StatusRequest {}
message StatusResponse { string version = 1; string healthz = 2; string key_id = 3; }
message DecryptRequest { bytes ciphertext = 1; string uid = 2; string key_id = 3; map<string, bytes> annotations = 4; }
message DecryptResponse { bytes plaintext = 1; }
message EncryptRequest { bytes plaintext = 1; string uid = 2; }
message EncryptResponse { bytes ciphertext = 1; string key_id = 2; map<string, bytes> annotations = 3; }
"""


def stubs():
    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, "kmsv2.proto"), "w", encoding="utf-8") as file:
        file.write(PROTO)
    arguments = ["protoc", f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}", "kmsv2.proto"]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, folder)
    return importlib.import_module("kmsv2_pb2"), importlib.import_module("kmsv2_pb2_grpc")


PB, SERVICE = stubs()
PATH, WHAT, FILE = sys.argv[1:]
# What kube-apiserver names as the authority (kubernetes/kubernetes#126930).
AUTHORITY = [("grpc.default_authority", "localhost")]
PLUGIN = SERVICE.KeyManagementServiceStub(grpc.insecure_channel(f"unix://{PATH}", options=AUTHORITY))


def uid():
    return str(uuid.uuid4())


def status():
    told = PLUGIN.Status(PB.StatusRequest(), timeout=60)
    assert told.version == "v2" and 0 < len(told.key_id) <= 1024, told
    return told


def seal(plain):
    sealed = PLUGIN.Encrypt(PB.EncryptRequest(plaintext=plain, uid=uid()), timeout=60)
    # What kube-apiserver checks before it stores.
    assert 0 < len(sealed.ciphertext) <= 1024 and 0 < len(sealed.key_id) <= 1024 and not sealed.annotations, sealed
    return sealed


def unseal(ciphertext, key_id, **more):
    asked = PB.DecryptRequest(ciphertext=ciphertext, uid=uid(), key_id=key_id, **more)
    return PLUGIN.Decrypt(asked, timeout=60).plaintext


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error.details()
    raise AssertionError(f"{code} was expected")


def load():
    if not os.path.exists(FILE):
        return []
    with open(FILE, encoding="utf-8") as file:
        return json.load(file)


def seal_many():
    told = status()
    assert told.healthz == "ok", told
    before = load()
    assert told.key_id not in {row["key_id"] for row in before}, "the key was rotated"
    plains = [os.urandom(32) for _ in range(200)]
    with ThreadPoolExecutor(16) as pool:
        sealed = list(pool.map(seal, plains))
    assert {one.key_id for one in sealed} == {told.key_id}
    assert len({one.ciphertext for one in sealed}) == len(plains)
    rows = [
        {"plain": plain.hex(), "ciphertext": one.ciphertext.hex(), "key_id": one.key_id}
        for plain, one in zip(plains, sealed)
    ]
    with open(FILE, "w", encoding="utf-8") as file:
        json.dump(before + rows, file)


def open_all():
    def one(row):
        return unseal(bytes.fromhex(row["ciphertext"]), row["key_id"]).hex() == row["plain"]

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, load()))
    assert status().healthz == "ok"


def shut():
    told = status()
    assert "disabled" in told.healthz and told.key_id == load()[-1]["key_id"], told
    row = load()[0]
    words = refused(grpc.StatusCode.FAILED_PRECONDITION, unseal, bytes.fromhex(row["ciphertext"]), row["key_id"])
    assert "disabled" in words, words
    refused(grpc.StatusCode.FAILED_PRECONDITION, seal, b"x" * 32)


def wrong():
    rows = load()
    ciphertext, key_id = bytes.fromhex(rows[0]["ciphertext"]), rows[0]["key_id"]
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    refused(invalid, unseal, ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]), key_id)
    refused(invalid, unseal, ciphertext, rows[-1]["key_id"])
    refused(invalid, unseal, b"", key_id)
    refused(invalid, unseal, ciphertext, key_id, annotations={"a.example.com": b"x"})
    refused(invalid, seal, b"")
    refused(grpc.StatusCode.OUT_OF_RANGE, seal, b"x" * (1 << 20))
    refused(grpc.StatusCode.UNIMPLEMENTED, PLUGIN.Forget, PB.StatusRequest(), timeout=60)
    open_all()


def none():
    words = refused(grpc.StatusCode.NOT_FOUND, PLUGIN.Status, PB.StatusRequest(), timeout=60)
    assert "there is no portion or key" in words, words


{"seal": seal_many, "open": open_all, "shut": shut, "wrong": wrong, "none": none}[WHAT]()
