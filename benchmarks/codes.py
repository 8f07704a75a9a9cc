"""What the code check costs where there is no code to be read, and how many drawn codes it reads.

    python benchmarks/codes.py --codes 100

Times are of one core, median of five: every attempt is made, since nothing is found. The codes are harder than what can
be read: small, faint, blurred, noisy, inverted, at any angle, in a picture that is plain, a texture, or full of print.
"""

import argparse
import math
import statistics
import time

import cv2
import numpy as np
import zxingcpp

from edge.check_recipes import CodeCheck
from edge.checks.code import CodeReader

SIZES = ((640, 480), (1152, 864), (2304, 1728))
TEXT = "LOT-2291-0815/7745-AB"
FORMATS = ((), ("DataMatrix",), ("QRCode",))


def pictures(width, height):
    """Pictures without a code, [height, width, 3], by what they show."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((height, width))
    soft = cv2.GaussianBlur(random.normal(0, 1, (height, width)), (0, 0), 3)
    greys = {
        "one grey": np.full((height, width), 120),
        "noise": random.integers(0, 256, (height, width)),
        "chequers of 4 px": (rows + columns) // 4 % 2 * 180 + 30,
        "stripes of 3 px": columns // 3 % 2 * 180 + 30,
        "soft texture": 128 + soft / abs(soft).max() * 127,
    }
    return {name: cv2.cvtColor(grey.astype(np.uint8), cv2.COLOR_GRAY2BGR) for name, grey in greys.items()}


def spent_ms(reader, picture):
    spans = []
    for _ in range(5):
        started = time.process_time()
        assert reader.look(picture, None) == ()
        spans.append((time.process_time() - started) * 1e3)
    return statistics.median(spans)


def drawn(random, width, height):
    """A picture with one code somewhere in it, and what the code says."""
    kind = ("DataMatrix", "QRCode", "Code128")[random.integers(3)]
    text = TEXT if kind != "Code128" else "LOT-2291"
    module = float(random.choice([2, 2.5, 3, 4, 5, 7, 10]))
    module = module if kind != "Code128" else min(module, 4) / 1.3
    contrast = float(random.choice([190, 120, 60, 25])) * random.choice([1, 1, 1, -1])
    code = np.array(zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat[kind]).to_image(scale=16)) / 255 - 0.5
    side = min(height, width, math.ceil(math.hypot(*code.shape) * module / 16))
    turn = float(random.choice([0, 90, 180, 270, random.uniform(0, 360)]))
    matrix = cv2.getRotationMatrix2D(((code.shape[1] - 1) / 2, (code.shape[0] - 1) / 2), turn, module / 16)
    matrix[:, 2] += (side - code.shape[1]) / 2, (side - code.shape[0]) / 2
    fine = cv2.GaussianBlur(code, (0, 0), 6.4 / module)
    placed = 150 + contrast * cv2.warpAffine(fine, matrix, (side, side), borderValue=0.5)
    picture = ground(random, width, height)
    x, y = random.integers(0, (width - side + 1, height - side + 1))
    picture[y : y + side, x : x + side] = placed
    if blur := float(random.choice([0, 0, 0.7, 1.2, 0.35 * module])):
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture += random.normal(0, random.choice([1, 1, 4, 10, 25]), picture.shape)
    return cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR), text


def ground(random, width, height):
    """What the code lies on: plain, a texture, or print from edge to edge."""
    kind = random.integers(3)
    if kind == 0:
        return np.full((height, width), 150.0)
    if kind == 1:
        soft = cv2.GaussianBlur(random.normal(0, 1, (height, width)), (0, 0), 3)
        return 150 + 25 * soft / soft.std()
    paper = np.full((height, width), 215, np.uint8)
    for y in range(20, height, 26):
        words = "".join(chr(letter) for letter in random.integers(65, 91, width // 10))
        cv2.putText(paper, words, (5, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 40, 2)
    return paper.astype(float)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=100, help="codes drawn for each size")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for width, height in SIZES:
        readers = [CodeReader("label", (0, 0, width, height), CodeCheck(formats=formats)) for formats in FORMATS]
        for name, picture in pictures(width, height).items():
            spans = "".join(f"{spent_ms(reader, picture):7.0f}" for reader in readers)
            print(f"{width} x {height}  {name:18} {spans} ms (all formats, Data Matrix, QR code)", flush=True)
        random = np.random.default_rng(7)
        read = 0
        for _ in range(arguments.codes):
            picture, text = drawn(random, width, height)
            read += text in {reading.text for reading in readers[0].look(picture, None)}
        print(f"{width} x {height}  {read} of {arguments.codes} codes read", flush=True)


if __name__ == "__main__":
    main()
