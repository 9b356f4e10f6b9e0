"""Reads every record of an otolith database from `storage-format.md` alone; prints one JSON line for each.

    python3 read_with_numpy.py DATABASE

Needs Python's standard library and numpy. Every CRC-32 is compared; the XXH3 sums are not, since neither has them: of a
log, the chain of the sums must be whole, and a frame that is cut off ends it. Values are printed as the bits of their f32, so that a comparison is exact.
"""

import json
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np

BLOCK = 65_536
SEGMENT, DELETES = 1, 2
MATRICES, FIELDS, IDS, RECORDS, BITMAP = 1, 2, 3, 4, 6


def need(condition, what):
    if not condition:
        sys.exit(f"damaged: {what}")


def number(data, offset, size):
    return int.from_bytes(data[offset : offset + size], "little")


def newest_manifest(root):
    """The JSON of the newest manifest, and the identity of the database (section 2)."""
    path = max(path for path in root.iterdir() if re.fullmatch("manifest-[0-9a-f]{16}", path.name))
    data = path.read_bytes()
    need(data[:8] == b"OTOMANIF", f"{path}: magic")
    need(zlib.crc32(data[:124]) == number(data, 124, 4), f"{path}: CRC-32 of the header")
    need(number(data, 8, 2) == 1 and number(data, 16, 8) <= 3, f"{path}: a version that this program does not know")
    need(number(data, 56, 8) == int(path.name[9:], 16), f"{path}: generation")
    need(128 + number(data, 64, 8) == len(data), f"{path}: length")
    return json.loads(data[128:]), data[40:56]


def container(path, entry, kind, database):
    """The bytes of a file, its header and its sections by kind (section 3)."""
    data = path.read_bytes()
    need(len(data) == entry["bytes"], f"{path}: length")
    head, foot = data[:4096], data[-256:]
    need(head[:8] == b"OTOLITH1" and foot[248:] == b"1HTILOTO", f"{path}: magic")
    need(zlib.crc32(head[:4092]) == number(head, 4092, 4), f"{path}: CRC-32 of the header")
    need(zlib.crc32(foot[:240]) == number(foot, 240, 4), f"{path}: CRC-32 of the footer")
    need(number(head, 8, 2) == 1 and number(head, 16, 8) == 0, f"{path}: a version that this program does not know")
    need(number(head, 12, 4) == kind and head[40:56] == database, f"{path}: kind or database")
    need(foot[224:240].hex() == entry["root"], f"{path}: not the file that the manifest names")
    sums_at, sums, directory_at, sections, length = struct.unpack_from("<5Q", foot)
    need(sums == -(-sums_at // BLOCK) and length == len(data), f"{path}: counts in the footer")
    for block in range(sums):
        start = block * BLOCK
        found = zlib.crc32(data[start : min(start + BLOCK, sums_at)])
        need(found == number(data, sums_at + 4 * block, 4), f"{path}: CRC-32 of block {block}")
    entries = (struct.unpack_from("<IIQQQ", data, directory_at + 32 * n) for n in range(sections))
    return data, head, {kind: (offset, length) for kind, _, offset, length, _ in entries}


def roaring(data):
    """The numbers in a Roaring bitmap, portable format (section 5)."""
    (cookie,) = struct.unpack_from("<I", data)
    at, runs = 4, b""
    if cookie & 0xFFFF == 12_347:
        containers = (cookie >> 16) + 1
        runs = data[at : at + -(-containers // 8)]
        at += len(runs)
    else:
        need(cookie == 12_346, "cookie of a bitmap")
        containers = number(data, at, 4)
        at += 4
    keys = [struct.unpack_from("<HH", data, at + 4 * n) for n in range(containers)]
    at += 4 * containers
    if not runs or containers >= 4:
        at += 4 * containers  # offsets of the containers, which follow each other anyway
    found = set()
    for n, (high, cardinality) in enumerate(keys):
        base, cardinality = high << 16, cardinality + 1
        if runs and runs[n // 8] >> (n % 8) & 1:
            count = number(data, at, 2)
            for start, more in np.frombuffer(data, "<u2", 2 * count, at + 2).reshape(-1, 2).tolist():
                found.update(range(base + start, base + start + more + 1))
            at += 2 + 4 * count
        elif cardinality <= 4096:
            found.update((base + np.frombuffer(data, "<u2", cardinality, at).astype(np.int64)).tolist())
            at += 2 * cardinality
        else:
            bits = np.unpackbits(np.frombuffer(data, np.uint8, 8192, at), bitorder="little")
            found.update((base + np.flatnonzero(bits)).tolist())
            at += 8192
    need(at == len(data), "length of a bitmap")
    return found


def matrix(data, offset, rows, dim, precision):
    """Values of a matrix as f32 (section 4)."""
    stored = ["<f4", "<f2", "<u2"][precision]
    values = np.frombuffer(data, stored, rows * dim, offset)
    if precision == 2:  # bf16 is the upper half of an f32
        values = (values.astype("<u4") << 16).view("<f4")
    return values.astype("<f4").reshape(rows, dim)


def frames(root, manifest, database):
    """The payloads of the commits in the log of a manifest (section 6)."""
    chain, seq = 0, manifest["last_seq"]
    names = (path.name for path in root.iterdir() if re.fullmatch("wal-[0-9a-f]{16}", path.name))
    first = manifest["wal_first"]
    for name in sorted(name for name in names if first is not None and int(name[4:], 16) >= first):
        data = (root / name).read_bytes()
        if len(data) < 64 or zlib.crc32(data[:60]) != number(data, 60, 4):
            return  # it was only being made
        need(data[:8] == b"OTOLOG_1" and number(data, 8, 2) == 1, f"{name}: magic or version")
        need(data[16:32] == database and number(data, 32, 8) == int(name[4:], 16), f"{name}: database or number")
        need(number(data, 40, 8) == chain, f"{name}: does not go on where the log before ends")
        at = 64
        while at + 48 <= len(data):
            magic, kind, length, frame_seq, _, before, total = struct.unpack_from("<4sIQQQQQ", data, at)
            follows = before == chain and frame_seq == seq + (kind == 1) and kind in (1, 2)
            if magic != b"OTOF" or not follows or at + 48 + length > len(data):
                break
            if kind == 1:
                yield data[at + 48 : at + 48 + length]
            chain, seq, at = total, frame_seq, at + 48 + length


def logged(root, manifest, database):
    """What the log says, in order: (collection, id, None) for a record that goes, else (collection, id, (fields, matrix)).
    Collections that come and go in it do so in the manifest."""
    collections = {collection["id"]: collection for collection in manifest["collections"]}
    for payload in frames(root, manifest, database):
        at, collection = 0, None
        while at < len(payload):
            kind, id_bytes = struct.unpack_from("<II", payload, at)
            if kind == 1:
                collection, at = number(payload, at + 8, 8), at + 24
                continue
            if kind in (5, 6):  # a collection comes or goes
                own, start = number(payload, at + 8, 8), at + (24 if kind == 5 else 16)
                end = start
                if kind == 5:
                    end += id_bytes + number(payload, at + 16, 8)
                    schema = json.loads(payload[start + id_bytes : end])
                    collections[own] = {"id": own, "name": payload[start : start + id_bytes].decode(), "schema": schema}
                else:
                    del collections[own]
                manifest["collections"] = list(collections.values())
                at = -(-end // 8) * 8
                continue
            if kind in (7, 8):  # a view comes or goes: nothing to a reader of records
                end = at + (32 if kind == 7 else 8) + id_bytes
                at = -(-end // 8) * 8 + (number(payload, at + 24, 8) if kind == 7 else 0)
                at = -(-at // 8) * 8
                continue
            start = at + (8 if kind == 2 else 32)
            id = payload[start : start + id_bytes].decode()
            if kind == 2:
                yield collection, id, None
                at = -(-(start + id_bytes) // 8) * 8
                continue
            need(kind in (3, 4), "an unknown operation")
            fields_bytes, _, rows, matrix_bytes = struct.unpack_from("<IIQQ", payload, at + 8)
            fields = json.loads(payload[start + id_bytes : start + id_bytes + fields_bytes])
            at = -(-(start + id_bytes + fields_bytes) // 8) * 8
            source, offset, end = payload, at, at + matrix_bytes
            if kind == 4:
                no, random, offset = struct.unpack_from("<3Q", payload, at)
                source = (root / "seg" / f"{no:016x}-{random:016x}.oseg").read_bytes()
                pieces = range(0, matrix_bytes, BLOCK)
                for n, piece in enumerate(pieces):
                    found = zlib.crc32(source[offset + piece : offset + min(piece + BLOCK, matrix_bytes)])
                    need(found == number(payload, at + 24 + 4 * n, 4), f"CRC-32 of a piece of {id}")
                end = at + 24 + 4 * len(pieces)
            schema = collections[collection]["schema"]
            precision = ["f32", "f16", "bf16"].index(schema["precision"])
            yield collection, id, (fields, matrix(source, offset, rows, schema["dim"], precision))
            at = -(-end // 8) * 8


def records(root):
    """Every live record: collection, id, fields, matrix."""
    manifest, database = newest_manifest(root)
    last = {}
    for collection, id, content in logged(root, manifest, database):
        last[collection, id] = content
    names = {collection["id"]: collection["name"] for collection in manifest["collections"]}
    for collection, id, fields, values in sealed(root, manifest, database):
        if (collection, id) not in last and collection in names:
            yield names[collection], id, fields, values
    for (collection, id), content in last.items():
        if content is not None and collection in names:
            yield names[collection], id, *content


def sealed(root, manifest, database):
    """Live records in the segments of a manifest: number of the collection, id, fields, matrix (section 4)."""
    for segment in manifest["segments"]:
        data, head, at = container(root / "seg" / segment["file"]["name"], segment["file"], SEGMENT, database)
        need(head[56:72].hex() == segment["uuid"], "identity of a segment")
        deleted = set()
        if segment["deletes"]:
            file = segment["deletes"]["file"]
            bitmap, belongs, sections = container(root / "seg" / file["name"], file, DELETES, database)
            need(belongs[80:96] == head[56:72], "segment of a delete set")
            offset, length = sections[BITMAP]
            deleted = roaring(bitmap[offset : offset + length])
            need(len(deleted) == segment["deletes"]["count"], "count of a delete set")
        need(at[RECORDS][1] == 64 * segment["records"], "record entries")
        for n in range(segment["records"]):
            if n in deleted:
                continue
            _, id_at, fields_at, matrix_at, rows, _, id_bytes, fields_bytes, dim, precision = struct.unpack_from(
                "<6Q3IB", data, at[RECORDS][0] + 64 * n
            )
            yield (
                segment["collection"],
                data[id_at : id_at + id_bytes].decode(),
                json.loads(data[fields_at : fields_at + fields_bytes]),
                matrix(data, matrix_at, rows, dim, precision),
            )


def main():
    for collection, id, fields, values in records(Path(sys.argv[1])):
        bits = np.ascontiguousarray(values).view("<u4").ravel().tolist()
        print(json.dumps([collection, id, fields, values.shape[0], bits], ensure_ascii=False))


if __name__ == "__main__":
    main()
