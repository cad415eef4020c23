"""Makes the plans of websocket-public-chat: who joins, speaks and leaves when. Format: tools/loads/rooms.

    python workload.py --workload bench --seed 2 --size '{"divisor": 1}' --out DIR

steady.json            100 users, a message a second each
idle.json              1,000 users, of whom one says something each second
burst.json             from nobody to 1,000 users, a message in ten seconds each
churn.json             200 users who stay two seconds, a message a second each
saturation-N.json      N users (200, 500, 1,000), five messages a second each
NAME-broadcast.json    the same for a peer that only passes texts on, and for one that speaks MQTT (NAME-mqtt.json)

The divisor makes rooms smaller (at least two users). Nothing is random: a seed changes nothing.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

PROTOCOLS = {"": ("chat", 128), "-broadcast": ("broadcast", 210), "-mqtt": ("mqtt", 187)}
"""End of a file's name -> protocol and bytes of a text, so that a member gets 210 bytes of each message."""
SATURATION = (200, 500, 1000)


@dataclass(frozen=True)
class Plan:
    """One phase of users."""

    users: tuple[int, int]
    rate: float
    session_seconds: float | None = None

    def content(self, name: str, divisor: int, protocol: str, payload_bytes: int) -> str:
        """Return the file."""
        users = [count and max(2, count // divisor) for count in self.users]
        phase = {
            "name": name,
            "seconds": 3,
            "users": users,
            "rate": self.rate,
            "session_seconds": self.session_seconds,
        }
        plan = {
            "protocol": protocol,
            "path": "/chat",
            "room": "bench",
            "payload_bytes": payload_bytes,
            "phases": [phase],
        }
        return json.dumps(plan, indent=1) + "\n"


PLANS = {
    "steady": Plan((100, 100), 1.0),
    "idle": Plan((1000, 1000), 0.001),
    "burst": Plan((0, 1000), 0.1),
    "churn": Plan((200, 200), 1.0, 2.0),
    **{f"saturation-{users}": Plan((users, users), 5.0) for users in SATURATION},
}


def main() -> None:
    """Make a workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, plan in PLANS.items():
        for end, (protocol, payload_bytes) in PROTOCOLS.items():
            content = plan.content(name, options.size["divisor"], protocol, payload_bytes)
            (options.out / f"{name}{end}.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
