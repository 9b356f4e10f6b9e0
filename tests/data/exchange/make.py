"""Writes compressed.npz here, three arrays as numpy.savez_compressed stores them, of each float that is read; and
table.parquet, three rows of every kind of column, in two groups, by pyarrow.
"""

import numpy

numpy.savez_compressed(
    "compressed.npz",
    **{
        "half": (numpy.arange(20) / 4).astype("<f2").reshape(5, 4),
        "dog/b\u00e4r 1": (numpy.arange(8) * 0.1).astype("<f4").reshape(2, 4),
        "big-endian": numpy.array([1e-3, -0.0, 7.25, 1e9]).astype(">f8"),
    },
)

import pyarrow
import pyarrow.parquet

rows = [[[0.5, -0.0], [1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0], [9.0, 10.0]]]
table = pyarrow.table(
    {
        "name": ["a", "b", "ü"],
        "audio": pyarrow.array([{"bytes": b"1"}, {"bytes": b"2"}, None]),
        "seconds": [1.5, None, float("nan")],
        "take": pyarrow.array([1, 2, 3], "int64"),
        "good": [True, False, None],
        "frames": pyarrow.array(rows, pyarrow.list_(pyarrow.list_(pyarrow.float32()))),
        "mean": pyarrow.array([[0.75, 1.0], [3.0, 4.0], [7.0, 8.0]], pyarrow.list_(pyarrow.float64())),
        "half": pyarrow.array([[0.25], [0.5], [1.0]], pyarrow.list_(pyarrow.float16())),
        "text": [["x"], ["y"], []],
    }
)
pyarrow.parquet.write_table(table, "table.parquet", compression="snappy", row_group_size=2)
