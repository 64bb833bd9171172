"""An image in the OCI layout, with layers large enough to be moved in parts. Usage: image.py make DIR, or same DIR DIR"""

import gzip
import hashlib
import io
import json
import os
import random
import sys
import tarfile


def blob(root, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(root, "blobs/sha256", digest), "wb") as file:
        file.write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}


def layer(seed, size):
    noise = random.Random(seed).randbytes(size)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo(f"data/{seed}")
        entry.size = size
        archive.addfile(entry, io.BytesIO(noise))
    return tar.getvalue()


def make(root):
    os.makedirs(os.path.join(root, "blobs/sha256"))
    tars = [layer(f"{root}/{i}", size) for i, size in enumerate([1000, 3_000_000, 17_000_000])]
    layers = [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **blob(root, gzip.compress(tar, 1, mtime=0))}
        for tar in tars
    ]
    diffs = ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}}
    described = blob(root, json.dumps(config).encode())
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **described},
        "layers": layers,
    }
    top = {"mediaType": manifest["mediaType"], **blob(root, json.dumps(manifest).encode())}
    with open(os.path.join(root, "index.json"), "w") as file:
        json.dump({"schemaVersion": 2, "manifests": [top]}, file)
    with open(os.path.join(root, "oci-layout"), "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)


def same(one, other):
    for name in sorted(os.listdir(os.path.join(one, "blobs/sha256"))):
        with open(os.path.join(other, "blobs/sha256", name), "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == name, name


{"make": make, "same": same}[sys.argv[1]](*sys.argv[2:])
