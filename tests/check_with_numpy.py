"""Checks proofs of exact answers from `storage-format.md` and the definition of a score alone.

    python3 check_with_numpy.py DATABASE QUESTIONS

Each line of QUESTIONS is a JSON document {"query": [..], "proof": {..}}: the numbers of the query as the bits of f32,
row after row, and what `otolith search --proof` wrote. Prints a line for each: `holds`, or `refuted` and why. Needs
Python's standard library and numpy; records are read by `read_with_numpy.py`. Proofs over views or with filters are
left out, since views and the language of filters are not part of the specification.

The definition: the score of a record is the sum, over the query's rows, of the largest similarity to one of its rows.
Products and sums are taken in f64, sums by rising index; `cosine` of a row of zeros is 0; `l2` is 0 minus the squared
distance.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np

from read_with_numpy import newest_manifest, records


def sums(a, b, term):
    """Of every row of `a` and every row of `b`: the sum of terms by rising index, one number at a time."""
    total = np.zeros((len(a), len(b)))
    for k in range(a.shape[1]):
        total += term(a[:, k, None], b[None, :, k])
    return total


def product(a, b):
    return a * b


def square(a, b):
    return (a - b) * (a - b)


def norms(rows):
    total = np.zeros(len(rows))
    for k in range(rows.shape[1]):
        total += rows[:, k] * rows[:, k]
    return np.sqrt(total)


def score(metric, query, record):
    """The score of a record, or None where it has no rows."""
    if len(record) == 0:
        return None
    q, d = query.astype(np.float64), record.astype(np.float64)
    if metric == "l2":
        similarity = 0.0 - sums(q, d, square)
    else:
        similarity = sums(q, d, product)
    if metric == "cosine":
        lengths = norms(q)[:, None] * norms(d)[None, :]
        zero = (norms(q)[:, None] == 0) | (norms(d)[None, :] == 0)
        similarity = np.where(zero, 0.0, similarity / np.where(zero, 1.0, lengths))
    total = 0.0
    for best in similarity.max(axis=1).tolist():
        total += best
    return total + 0.0


def refuted(question, state, hits, bound, scores):
    """Why a proof does not hold, or None."""
    k, least = question["k"], question["min_score"]
    if k is not None and len(hits) > k:
        return "more hits than were asked for"
    for one, next in zip(hits, hits[1:]):
        if not (one["score"] > next["score"] or (one["score"] == next["score"] and one["id"].encode() < next["id"].encode())):
            return f"{next['id']} does not come after {one['id']}"
    claimed = {hit["id"]: hit["score"] for hit in hits}
    full = k is not None and len(hits) == k
    for id, found in scores.items():
        if id in claimed:
            # as bits: 0 and -0 are equal, and a claim is of one of them
            if found is None or np.float64(found).tobytes() != np.float64(claimed[id]).tobytes():
                return f"{id} scores {found!r}, not {claimed[id]!r}"
            if least is not None and found < least:
                return f"{id} scores less than was asked for"
            continue
        if found is None:
            continue
        if least is not None and found < least:
            belongs = False
        elif full:
            last = hits[-1] if hits else None
            belongs = last is not None and (
                found > last["score"] or (found == last["score"] and id.encode() < last["id"].encode())
            )
        else:
            belongs = True
        if belongs:
            return f"{id} scores {found!r} and is not among the hits"
        if bound is None and k != 0:
            return f"{id} is left out, which the proof denies"
        if bound is not None and found > bound:
            return f"{id} scores {found!r}, above the bound {bound!r}"
    missing = [id for id in claimed if id not in scores]
    if missing:
        return f"{missing[0]} is no record"
    if len(scores) != state["records"]:
        return f"{state['records']} records are claimed, there are {len(scores)}"
    return None



def contradiction(proof):
    """Says what in the counts of what was left out contradicts the rest, if anything does."""
    if sum(excluded["records"] for excluded in proof["excluded"]) != proof["bounded"]:
        return "the records left out do not add up"
    for excluded in proof["excluded"]:
        if proof["best_excluded"] is None or excluded["most"] > proof["best_excluded"]:
            return f"what is left out by {excluded['by']} may score more than its bound"
    return None


def main():
    root = Path(sys.argv[1])
    manifest, database = newest_manifest(root)
    metrics = {collection["name"]: collection["schema"]["metric"] for collection in manifest["collections"]}
    collections = {}
    for collection, id, _, values in records(root):
        collections.setdefault(collection, {})[id] = values
    for line in Path(sys.argv[2]).read_text().splitlines():
        document = json.loads(line)
        proof = document["proof"]
        question, state = proof["question"], proof["state"]
        if question["view"] != "raw" or question["filter"] is not None:
            print("left out: a view or a filter")
            continue
        query = np.array(document["query"], "<u4").view("<f4").reshape(question["rows"], question["dim"])
        name = state["collection"]
        if state["database"] != database.hex() or name not in collections:
            print("refuted: of another database")
        elif zlib.crc32(query.tobytes()) != question["crc32"]:
            print("refuted: another query")
        elif metrics[name] != question["metric"]:
            print(f"refuted: the metric is {metrics[name]}")
        else:
            scores = {id: score(question["metric"], query, values) for id, values in collections[name].items()}
            why = contradiction(proof) or refuted(question, state, proof["hits"], proof["best_excluded"], scores)
            print("holds" if why is None else f"refuted: {why}")


if __name__ == "__main__":
    main()
