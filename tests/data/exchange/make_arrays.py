"""Writes arrays.zip here: arrays of every type and order that numpy saves and `import` reads, each beside its values as numpy turns
them into C-ordered little-endian float32 (NAME.f32); archives with ids; and arrays that are refused.
"""

import io
import zipfile

import numpy

draw = numpy.random.default_rng(7)
files = {}


def save(name, array, version=None):
    out = io.BytesIO()
    numpy.lib.format.write_array(out, array, version=version)
    files[name + ".npy"] = out.getvalue()
    files[name + ".f32"] = numpy.ascontiguousarray(array, "<f4").tobytes()


types = ["?", "i1", "u1"] + [order + kind for order in "<>" for kind in "i2 u2 i4 u4 i8 u8 f2 f4 f8".split()]
for kind in types:
    plain = kind.replace("<", "l").replace(">", "b").replace("?", "bool")
    for shape in [(7, 3), (4, 2, 3)]:
        values = draw.normal(size=shape) * 90
        array = (values > 0) if kind == "?" else (abs(values) if "u" in kind else values).astype(kind)
        save(f"{plain}-{len(shape)}-c", array)
        save(f"{plain}-{len(shape)}-f", numpy.asfortranarray(array))
save("version-2", numpy.arange(6, dtype="<f4").reshape(2, 3), (2, 0))
save("version-3", numpy.arange(6, dtype="<f4").reshape(2, 3), (3, 0))
save("one-axis", numpy.arange(5, dtype="<f8"))
save("large-integers", numpy.array([[2**53 + 1, -(2**62)], [2**31 - 1, 0]], "<i8"))


def archive(name, compressed=False, **arrays):
    out = io.BytesIO()
    (numpy.savez_compressed if compressed else numpy.savez)(out, **arrays)
    files[name + ".npz"] = out.getvalue()


rows = numpy.arange(12, dtype="<f4").reshape(4, 3)
archive("integers", embeddings=rows, ids=numpy.array([-3, 0, 2**40, 7]))
archive("text", True, ids=numpy.array(["a", "b\u00e4r", "\U0001f600"]), vectors=rows[:3])
archive("bytes", embeddings=numpy.asfortranarray(rows), names=numpy.array([b"a", b"bb", b"ccc", b"d"]))
archive("columns", True, a=numpy.asfortranarray(rows), b=rows)
archive("twice", embeddings=rows, ids=numpy.array(["a", "b", "a", "c"]))
archive("fewer", embeddings=rows, ids=numpy.array(["a", "b"]))
archive("fields", embeddings=rows, ids=numpy.array([0.5, 1.5, 2.5, 3.5]))
archive("objects", embeddings=rows, ids=numpy.array(["a", 1, None, "c"], object))


def refused(name, array):
    out = io.BytesIO()
    numpy.save(out, array)
    files[name + ".npy"] = out.getvalue()


refused("refused-object", numpy.array([[1, 2], None], object))
refused("refused-complex", numpy.ones((2, 3), "<c8"))
refused("refused-structured", numpy.zeros(3, [("a", "<f4"), ("b", "<i4")]))
refused("refused-text", numpy.array([["a", "b"]]))
refused("refused-date", numpy.zeros((2, 2), "datetime64[s]"))
refused("refused-beyond", numpy.array([[0, 1], [2, 1e39]], "<f8"))
refused("refused-beyond-columns", numpy.asfortranarray(numpy.array([[0, 1], [2, 3], [4, -1e300], [1e39, 2]], "<f8")))
refused("refused-nan-half", numpy.array([[0, 1], [numpy.nan, 1]], "<f2"))

with zipfile.ZipFile("arrays.zip", "w") as out:
    for name, content in sorted(files.items()):
        out.writestr(zipfile.ZipInfo(name), content)
