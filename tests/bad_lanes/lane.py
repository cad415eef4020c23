"""A small lane that counts the lines of a file, and can misbehave in one way: the last word of its folder's name.

The tests copy this file into one lane a fault; the fault is read from FAULT below, which the copy replaces.
"""

import os
import signal
import sys
import time

import xxhash

FAULT = "none"


def main() -> int:
    """Run the job under the lane contract, with the fault."""
    argv = sys.argv[1:]
    if argv == ["--version"]:
        print("line-counter python")
        return 0
    options = dict(zip(argv[::2], argv[1::2], strict=False))
    known = {"--input", "--repeats", "--output"}
    for name in argv[::2]:
        if name not in known:
            return fail(f"unknown option {name}")
    if "--input" not in options:
        return fail("--input is missing")
    repeats = options.get("--repeats", "1")
    if not repeats.isdecimal() or int(repeats) < 1:
        return fail(f"--repeats: not a positive number: {repeats}")
    return run(options["--input"], int(repeats), options.get("--output"))


def fail(message: str) -> int:
    """One line and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    return 2


def count(path: str) -> int:
    """The job: lines of a file, read byte for byte, so that it takes a while."""
    with open(path, "rb") as file:
        content = file.read()
    return sum(1 for byte in content if byte == 10)


def run(path: str, repeats: int, output: str | None) -> int:
    """All repeats, then the statistics."""
    misbehave(repeats)
    start = time.monotonic()
    digest = xxhash.xxh64()
    lines = 0
    answer = b""
    for turn in range(repeats):
        if FAULT != "hoisted" or turn == 0:
            try:
                lines = count(path)
            except OSError as error:
                return fail(f"{path}: {error.strerror}")
        answer = b"%d\n" % (lines + (FAULT == "wrong-answer") + (FAULT == "wrong-when-timed" and repeats > 1))
        digest.update(answer)
    if output == "-":
        sys.stdout.buffer.write(answer)
        return 0
    if output is not None:
        with open(output, "wb") as file:
            file.write(answer)
    seconds = time.monotonic() - start + (60 if FAULT == "time-liar" and repeats > 1 else 0)
    items = lines * repeats + (FAULT == "wrong-count")
    if FAULT != "silent":
        print(
            f"--- Statistics ---\nTotal processed: {items}\nProcessing time: {seconds:.6f}s\n"
            f"Average latency: {seconds / repeats * 1000:.6f}ms\n"
            f"Throughput: {items / max(seconds, 1e-9):.2f} items/sec\n"
            f"Digest: {digest.hexdigest()}"
        )
    return 0


def misbehave(repeats: int) -> None:
    """The faults that end badly."""
    if FAULT == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif FAULT == "crash-when-timed" and repeats > 1:
        os.abort()
    elif FAULT == "hang":
        time.sleep(3600)
    elif FAULT == "flood":
        while True:
            sys.stdout.write("x" * 65536)
    elif FAULT == "memory-hog":
        hog = []
        try:
            while True:
                hog.append(bytearray(os.urandom(4096)) * 4096)
        except MemoryError:  # a limit of the process, where there are no control groups
            sys.exit("error: out of memory")
    elif FAULT == "fork-bomb":
        for _ in range(200):
            try:
                if os.fork() == 0:
                    os.setsid()
                    time.sleep(3600)
            except OSError:
                break


if __name__ == "__main__":
    sys.exit(main())
