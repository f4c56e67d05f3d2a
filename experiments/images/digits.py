#!/usr/bin/env python3
"""digits.py - scikit-learn's digits (8 x 8 pixels of 17 values, 10 classes, 1797 images) as IDX files, which task "images" reads.

    experiments/images/digits.py                           # fetches Debian's python3-sklearn with apt-get download, unpacks one file of it
    experiments/images/digits.py path/to/digits.csv.gz     # of an installed scikit-learn: sklearn/datasets/data/digits.csv.gz

Writes experiments/images/data/digits/train-images-idx3-ubyte and train-labels-idx1-ubyte. A pixel of k of 16 becomes round(255 k / 16), from
which `levels: 17` gives k back. Only Python's standard library is used. The images are the test set of "Optical Recognition of
Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, CC BY 4.0).
"""
import gzip, hashlib, os, struct, subprocess, sys, tempfile

SHA256 = "46abec6b12486ad9e51943373abcf22bbea1b5a51a1619b361570d8893f1464a"  # of digits.csv.gz
INSIDE = "usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz"


def from_debian(folder):
    subprocess.run(["apt-get", "download", "-q", "python3-sklearn"], cwd=folder, check=True)
    (package,) = [f for f in os.listdir(folder) if f.endswith(".deb")]
    subprocess.run(["dpkg", "-x", package, "unpacked"], cwd=folder, check=True)
    return os.path.join(folder, "unpacked", INSIDE)


def read(path):
    data = open(path, "rb").read()
    got = hashlib.sha256(data).hexdigest()
    if got != SHA256:
        print(f"digits.py: note: {path} has the SHA-256 {got}, not that of the file of which results are reported ({SHA256})", file=sys.stderr)
    rows = []
    for number, line in enumerate(gzip.decompress(data).decode("ascii").split(), 1):
        row = [int(float(x)) for x in line.split(",")]
        if len(row) != 65 or not all(0 <= x <= 16 for x in row[:64]) or not 0 <= row[64] <= 9:
            sys.exit(f"digits.py: {path}, line {number}: 64 pixels of 0 to 16 and a digit are wanted")
        rows.append(row)
    return rows


def write(path, head, values):
    with open(path + ".new", "wb") as f:
        f.write(struct.pack(f">BBBB{len(head)}I", 0, 0, 8, len(head), *head) + bytes(values))
    os.replace(path + ".new", path)
    print(path, hashlib.sha256(open(path, "rb").read()).hexdigest())


def main():
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "digits")
    with tempfile.TemporaryDirectory() as folder:
        rows = read(sys.argv[1] if len(sys.argv) > 1 else from_debian(folder))
    os.makedirs(out, exist_ok=True)
    write(os.path.join(out, "train-images-idx3-ubyte"), [len(rows), 8, 8], [(510 * x + 16) // 32 for r in rows for x in r[:64]])
    write(os.path.join(out, "train-labels-idx1-ubyte"), [len(rows)], [r[64] for r in rows])


if __name__ == "__main__":
    main()
